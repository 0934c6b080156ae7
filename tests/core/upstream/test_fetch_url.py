"""URLs and addresses: what is read, what is public, what nobody may reach."""

from __future__ import annotations

from ipaddress import ip_address

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from modgate.upstream.addresses import is_forbidden, is_public
from modgate.upstream.origins import Allowed, Origin, Url, canonical_host

# Spellings of machines that a client must not reach, as a host in a URL.
PRIVATE_HOSTS = [
    "127.0.0.1",
    "127.0.0.1.",
    "127.1",
    "127.0.1",
    "2130706433",
    "0x7f000001",
    "0x7f.0.0.1",
    "0x7f.1",
    "0x7F.0x0.0x0.0x1",
    "0x",
    "017700000001",
    "0177.0.0.1",
    "0177.0.0.01",
    "00000177.0.0.1",
    "127.0.0.0x1",
    "127.000.000.001",
    "127.0.0.256",
    "4294967297",
    "0",
    "0.0.0.0",
    "10.0.0.1",
    "10.1",
    "172.16.0.1",
    "172.31.255.255",
    "192.168.1.1",
    "192.168.257",
    "100.64.0.1",
    "100.127.255.254",
    "169.254.169.254",
    "169.254.169.254.",
    "2852039166",
    "0xa9fea9fe",
    "0251.0376.0251.0376",
    "169.254.43518",
    "169.254.170.2",
    "100.100.100.200",
    "168.63.129.16",
    "192.0.0.192",
    "192.0.2.1",
    "198.18.0.1",
    "203.0.113.9",
    "192.88.99.1",
    "224.0.0.1",
    "239.255.255.250",
    "240.0.0.1",
    "255.255.255.255",
    "\uff11\uff12\uff17.0.0.1",
    "①②⑦.0.0.1",
    "127。0。0。1",
    "\uff11\uff16\uff19.\uff12\uff15\uff14.\uff11\uff16\uff19.\uff12\uff15\uff14",
    "127%2e0.0.1",
    "%31%32%37.0.0.1",
    "[::1]",
    "[::]",
    "[0:0:0:0:0:0:0:1]",
    "[::ffff:127.0.0.1]",
    "[::ffff:7f00:1]",
    "[::ffff:169.254.169.254]",
    "[::ffff:8.8.8.8]",
    "[::127.0.0.1]",
    "[::ffff:0:127.0.0.1]",
    "[2002:7f00:1::]",
    "[2002:a9fe:a9fe::1]",
    "[2001:0:808:808::f5ff:fffe]",
    "[64:ff9b::127.0.0.1]",
    "[64:ff9b::a9fe:a9fe]",
    "[64:ff9b::10.0.0.1]",
    "[64:ff9b:1::8.8.8.8]",
    "[fe80::1]",
    "[fe80::1%25eth0]",
    "[fe80::1%eth0]",
    "[fc00::1]",
    "[fd00:ec2::254]",
    "[fec0::1]",
    "[ff02::1]",
    "[100::1]",
    "[2001:db8::1]",
    "[3fff::1]",
    "[5f00::1]",
    "[2606:4700::5efe:10.0.0.1]",
    "[2606:4700::200:5efe:127.0.0.1]",
    "[v1.127]",
    "[127.0.0.1]",
    "[]",
]


@pytest.mark.parametrize("host", PRIVATE_HOSTS)
def test_no_spelling_of_a_private_address_is_read_as_a_public_one(host: str) -> None:
    try:
        address = Url.parse(f"https://{host}/x.png").origin.address
    except ValueError:
        return

    assert address is not None, "it would be asked of a resolver"
    assert not is_public(address)


@pytest.mark.parametrize(
    "text",
    [
        "1.1.1.1",
        "8.8.8.8",
        "100.63.255.255",
        "172.32.0.1",
        "2606:4700:4700::1111",
        "2a00:1450:4001:81b::200e",
        "64:ff9b::8.8.8.8",
    ],
)
def test_a_public_address_is_public(text: str) -> None:
    assert is_public(ip_address(text))
    assert not is_forbidden(ip_address(text))


@pytest.mark.parametrize(
    "text",
    [
        "169.254.169.254",
        "169.254.170.23",
        "100.100.100.200",
        "168.63.129.16",
        "fd00:ec2::254",
        "fd20:ce::254",
        "fd00:42::42",
        "fd00:c1::a9fe:a9fe",
        "fd00:a9fe:a9fe::1",
        "fd00:100::100:200",
        "fe80::a9fe:a9fe",
        "::ffff:169.254.169.254",
        "::169.254.169.254",
        "64:ff9b::169.254.169.254",
        "64:ff9b:1::169.254.169.254",
        "2002:a9fe:a9fe::1",
        "2001:db8::5efe:169.254.169.254",
        "224.0.0.251",
        "ff02::fb",
    ],
)
def test_a_metadata_address_is_forbidden_in_every_disguise(text: str) -> None:
    assert is_forbidden(ip_address(text))


@pytest.mark.parametrize("text", ["127.0.0.1", "10.2.3.4", "::1", "fd12:3456::1", "192.168.0.9"])
def test_an_operator_may_name_a_private_address(text: str) -> None:
    assert not is_forbidden(ip_address(text))
    assert not is_public(ip_address(text))


@given(st.ip_addresses(v=4))
@settings(derandomize=True, deadline=None, max_examples=300)
def test_a_public_address_is_never_forbidden_in_ipv4(address: object) -> None:
    four = ip_address(str(address))

    assert not (is_public(four) and (four.is_private or four.is_multicast or four.is_reserved))


@given(st.integers(0, 2**32 - 1), st.sampled_from(["::ffff:0:0", "2002::", "64:ff9b::"]))
@settings(derandomize=True, deadline=None, max_examples=300)
def test_an_ipv4_address_in_disguise_is_at_most_as_public_as_itself(four: int, form: str) -> None:
    shift = 80 if form == "2002::" else 0
    disguised = ip_address(int(ip_address(form)) | four << shift)

    assert not is_public(disguised) or is_public(ip_address(four))
    assert is_forbidden(disguised) or not is_forbidden(ip_address(four))


@pytest.mark.parametrize(
    "text",
    [
        "",
        "image.png",
        "//example.com/x.png",
        "file:///etc/passwd",
        "ftp://example.com/x.png",
        "gopher://example.com/_x",
        "data:image/png;base64,AAAA",
        "javascript:alert(1)",
        "unix:///run/x.sock",
        "https://",
        "https:///x.png",
        "https://user@example.com/",
        "https://user:pass@example.com/",
        "https://example.com@127.0.0.1/",
        "https://example.com\\@127.0.0.1/",
        "https://example.com/a b",
        " https://example.com/",
        "https://example.com/\n",
        "https://exa\tmple.com/",
        "https://example.com:0/",
        "https://example.com:99999/",
        "https://example.com:x/",
        "https://example.com:\uff18\uff10/",
        "https://exa%6dple.com/",
        "https://exam\u2100ple.com/",
        "https://.example.com/",
        "https://example..com/",
        "https://-example.com/",
        "https://example.com:443:80/",
        "https://[::1/",
        "https://::1/",
        "https://[::1]x/",
        "https://x[::1]/",
        "https://" + "a" * 64 + ".com/",
        "https://" + "a." * 130 + "com/",
        "https://example.com/" + "a" * 8000,
        "https://example.com/\ud800",
        "https://\ud800.com/",
    ],
)
def test_an_odd_url_is_refused_without_being_repeated(text: str) -> None:
    with pytest.raises(ValueError, match="the URL") as caught:
        Url.parse(text)

    assert not text or text not in str(caught.value)


@pytest.mark.parametrize(
    ("text", "origin"),
    [
        ("HTTPS://Example.COM", Origin("https", "example.com", 443)),
        ("https://example.com./x", Origin("https", "example.com", 443)),
        ("http://example.com:8080/x", Origin("http", "example.com", 8080)),
        ("https://example.com:/x", Origin("https", "example.com", 443)),
        ("https://bücher.example/x", Origin("https", "xn--bcher-kva.example", 443)),
        (
            "https://\uff25\uff38ample.com/x",
            Origin("https", "example.com", 443),
        ),
        ("https://my_bucket.example.com/x", Origin("https", "my_bucket.example.com", 443)),
        ("https://[2606:4700:0:0::1111]/", Origin("https", "2606:4700::1111", 443)),
        ("https://1.1.1.1:8443/", Origin("https", "1.1.1.1", 8443)),
    ],
)
def test_an_origin_has_one_spelling(text: str, origin: Origin) -> None:
    assert Url.parse(text).origin == origin


def test_a_path_keeps_its_own_escapes_and_loses_its_fragment() -> None:
    url = Url.parse("https://example.com/a%2Fb/ü;c?x=%20&y=ß&sig=a+b#top")

    assert url.path == "/a%2Fb/%C3%BC;c"
    assert url.query == "x=%20&y=%C3%9F&sig=a+b"


@pytest.mark.slow
@given(st.text(max_size=60), st.sampled_from(["", "https://", "http://1", "https://[", "//"]))
@settings(derandomize=True, deadline=None, max_examples=500)
def test_any_text_is_a_url_or_a_value_error(text: str, start: str) -> None:
    try:
        url = Url.parse(start + text)
    except ValueError:
        return

    assert canonical_host(url.origin.host) == url.origin.host or ":" in url.origin.host
    assert Url.parse(str(url)) == url


@pytest.mark.parametrize(
    ("allow", "url", "admitted"),
    [
        ([], "https://example.com/", False),
        (["*"], "https://example.com/", True),
        (["*"], "http://example.com/", False),
        (["*"], "https://example.com:8443/", False),
        (["*", "http://*"], "http://example.com/", True),
        (["*", "http://*"], "http://example.com:8080/", False),
        (["https://files.internal:9000"], "https://files.internal:9000/x", True),
        (["https://files.internal:9000"], "https://files.internal/x", False),
        (["https://files.internal:9000"], "http://files.internal:9000/x", False),
        (["https://files.internal:9000"], "https://a.files.internal:9000/x", False),
        (["https://Files.Internal./"], "https://files.internal/x", True),
    ],
)
def test_an_entry_admits_what_it_says(allow: list[str], url: str, admitted: bool) -> None:
    assert Allowed.of(allow).admits(Url.parse(url).origin) is admitted


@pytest.mark.parametrize(
    "entry", ["", "example.com", "https://a/b", "https://a?x", "ftp://a", "**"]
)
def test_an_entry_that_is_no_origin_is_named(entry: str) -> None:
    with pytest.raises(ValueError, match="is not an origin"):
        Allowed.of(["*", entry])
