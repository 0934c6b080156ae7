"""Whisper's languages: codes and English names, either of which a client may send (wire.md B7)."""

from __future__ import annotations

NAMES = (
    "en:english zh:chinese de:german es:spanish ru:russian ko:korean fr:french ja:japanese "
    "pt:portuguese tr:turkish pl:polish ca:catalan nl:dutch ar:arabic sv:swedish it:italian "
    "id:indonesian hi:hindi fi:finnish vi:vietnamese he:hebrew uk:ukrainian el:greek ms:malay "
    "cs:czech ro:romanian da:danish hu:hungarian ta:tamil no:norwegian th:thai ur:urdu "
    "hr:croatian bg:bulgarian lt:lithuanian la:latin mi:maori ml:malayalam cy:welsh sk:slovak "
    "te:telugu fa:persian lv:latvian bn:bengali sr:serbian az:azerbaijani sl:slovenian "
    "kn:kannada et:estonian mk:macedonian br:breton eu:basque is:icelandic hy:armenian "
    "ne:nepali mn:mongolian bs:bosnian kk:kazakh sq:albanian sw:swahili gl:galician mr:marathi "
    "pa:punjabi si:sinhala km:khmer sn:shona yo:yoruba so:somali af:afrikaans oc:occitan "
    "ka:georgian be:belarusian tg:tajik sd:sindhi gu:gujarati am:amharic yi:yiddish lo:lao "
    "uz:uzbek fo:faroese ht:haitian ps:pashto tk:turkmen nn:nynorsk mt:maltese sa:sanskrit "
    "lb:luxembourgish my:myanmar bo:tibetan tl:tagalog mg:malagasy as:assamese tt:tatar "
    "haw:hawaiian ln:lingala ha:hausa ba:bashkir jw:javanese su:sundanese yue:cantonese"
)
THREE_LETTERS = (
    "eng:en deu:de ger:de fra:fr fre:fr spa:es ita:it por:pt rus:ru zho:zh jpn:ja kor:ko"
)

CODES = dict(pair.split(":") for pair in NAMES.split())
_BY_NAME = {name: code for code, name in CODES.items()}
_BY_THREE = dict(pair.split(":") for pair in THREE_LETTERS.split())


def code_of(written: str) -> str | None:
    """The code of a language as a client wrote it.

    `en`, `en-US`, `eng`, `English`; None = unknown.
    """
    lower = written.strip().lower().replace("_", "-")
    first = lower.split("-")[0]
    if first in CODES:
        return first
    return _BY_NAME.get(lower) or _BY_THREE.get(first)
