"""Whisper's languages by code and by English name, either of which a client may send.

Source: wire.md B7.
"""

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
# ISO 639-3, and the bibliographic codes of ISO 639-2 where they differ.
THREE_LETTERS = (
    "eng:en zho:zh chi:zh cmn:zh deu:de ger:de spa:es rus:ru kor:ko fra:fr fre:fr jpn:ja por:pt "
    "tur:tr pol:pl cat:ca nld:nl dut:nl ara:ar arb:ar swe:sv ita:it ind:id hin:hi fin:fi vie:vi "
    "heb:he ukr:uk ell:el gre:el msa:ms may:ms zsm:ms ces:cs cze:cs ron:ro rum:ro dan:da hun:hu "
    "tam:ta nor:no nob:no tha:th urd:ur hrv:hr bul:bg lit:lt lat:la mri:mi mao:mi mal:ml cym:cy "
    "wel:cy slk:sk slo:sk tel:te fas:fa per:fa pes:fa lav:lv lvs:lv ben:bn srp:sr aze:az azj:az "
    "slv:sl kan:kn est:et ekk:et mkd:mk mac:mk bre:br eus:eu baq:eu isl:is ice:is hye:hy arm:hy "
    "nep:ne npi:ne mon:mn khk:mn bos:bs kaz:kk sqi:sq alb:sq swa:sw swh:sw glg:gl mar:mr pan:pa "
    "sin:si khm:km sna:sn yor:yo som:so afr:af oci:oc kat:ka geo:ka bel:be tgk:tg snd:sd guj:gu "
    "amh:am yid:yi ydd:yi lao:lo uzb:uz uzn:uz fao:fo hat:ht pus:ps pbt:ps tuk:tk nno:nn mlt:mt "
    "san:sa ltz:lb mya:my bur:my bod:bo tib:bo tgl:tl mlg:mg plt:mg asm:as tat:tt lin:ln hau:ha "
    "bak:ba jav:jw sun:su"
)
OTHER_NAMES = (
    "mandarin:zh castilian:es valencian:ca flemish:nl moldavian:ro moldovan:ro sinhalese:si "
    "pushto:ps panjabi:pa letzeburgesch:lb haitian:ht burmese:my"
)
OTHER_CODES = "jv:jw iw:he in:id nb:no fil:tl"

CODES = dict(pair.split(":") for pair in NAMES.split())
_BY_NAME = {name: code for code, name in CODES.items()}
_BY_NAME |= dict(pair.split(":") for pair in OTHER_NAMES.split())
_BY_THREE = dict(pair.split(":") for pair in (THREE_LETTERS + " " + OTHER_CODES).split())


def code_of(written: str) -> str | None:
    """The code of a language that a client names: `en`, `en-US`, `eng` or `English`.

    None when it is unknown.
    """
    lower = written.strip().lower().replace("_", "-")
    first = lower.split("-")[0]
    if first in CODES:
        return first
    return _BY_NAME.get(lower) or _BY_THREE.get(first)
