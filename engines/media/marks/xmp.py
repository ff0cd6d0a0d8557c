"""The XMP packet: IPTC's Digital Source Type and the AIGC text, beside what a file said before.

Namespaces: IPTC Extension, and TC260's of the Chinese labelling standard (GB 45438-2025).
"""

import re
from xml.etree import ElementTree as ET
from xml.sax.saxutils import escape

from engines.media.marks.mark import PACKET_BYTES_MAX, Mark

_RDF = "http://www.w3.org/1999/02/22-rdf-syntax-ns#"
_IPTC = "http://iptc.org/std/Iptc4xmpExt/2008-02-29/"
_AIGC = "http://www.tc260.org.cn/ns/AIGC/1.0/"
_DESCRIPTION, _RESOURCE = f"{{{_RDF}}}Description", f"{{{_RDF}}}resource"
_PROPERTIES = ((_IPTC, "DigitalSourceType"), (_AIGC, "AIGC"))
_ENDS = re.compile(rb"</[\w.-]+:RDF\s*>")
_OURS = (
    '<rdf:Description rdf:about="" xmlns:rdf="{rdf}" xmlns:Iptc4xmpExt="{iptc}" xmlns:TC260="{tc}">'
    "<Iptc4xmpExt:DigitalSourceType>{source_type}</Iptc4xmpExt:DigitalSourceType>"
    "<TC260:AIGC>{aigc}</TC260:AIGC></rdf:Description>"
)
_ALONE = (
    '<?xpacket begin="\ufeff" id="W5M0MpCehiHzreSzNTczkc9d"?><x:xmpmeta xmlns:x="adobe:ns:meta/">'
    '<rdf:RDF xmlns:rdf="{rdf}">{ours}</rdf:RDF></x:xmpmeta><?xpacket end="w"?>'
)


def packet(mark: Mark, earlier: bytes | None = None) -> bytes:
    """A packet that says ``mark``, and all else that an earlier packet of the file said."""
    ours = _OURS.format(
        rdf=_RDF, iptc=_IPTC, tc=_AIGC, source_type=escape(mark.source_type), aigc=escape(mark.aigc)
    )
    if earlier is not None and _parsed(earlier) is not None:
        kept = _without_marks(earlier)
        ends = list(_ENDS.finditer(kept))
        if ends:
            at = ends[-1].start()
            joined = kept[:at] + ours.encode() + kept[at:]
            if _parsed(joined) is not None:
                return joined
    return _ALONE.format(rdf=_RDF, ours=ours).encode()


def source_type_of(xmp: bytes) -> str | None:
    """The Digital Source Type that a packet says."""
    return _property(xmp, *_PROPERTIES[0])


def aigc_of(xmp: bytes) -> str | None:
    """The AIGC text that a packet says."""
    return _property(xmp, *_PROPERTIES[1])


def _property(xmp: bytes, namespace: str, name: str) -> str | None:
    tree, wanted = _parsed(xmp), f"{{{namespace}}}{name}"
    if tree is None:
        return None
    for description in tree.iter(_DESCRIPTION):
        if (said := description.get(wanted)) is not None:
            return said
        for element in description.findall(wanted):
            text = element.get(_RESOURCE) or element.text
            return text.strip() if text else None
    return None


def _without_marks(xmp: bytes) -> bytes:
    """The packet without what it said of the same: a property may stand in XMP once."""
    for namespace, name in _PROPERTIES:
        bound = rb"xmlns:([\w.-]+)\s*=\s*[\"']" + re.escape(namespace.encode()) + rb"[\"']"
        for prefix in {match[1] for match in re.finditer(bound, xmp)}:
            said = re.escape(prefix) + b":" + name.encode()
            xmp = re.sub(rb"\s" + said + rb"\s*=\s*(\"[^\"]*\"|'[^']*')", b"", xmp)
            xmp = re.sub(rb"<" + said + rb"(\s[^>]*)?/>", b"", xmp)
            xmp = re.sub(rb"<" + said + rb"(\s[^>]*)?>[^<]*</" + said + rb"\s*>", b"", xmp)
    return xmp


def _parsed(xmp: bytes) -> ET.Element | None:
    """The packet as a tree; None for what is no XMP. Packets have no business with entities."""
    if len(xmp) > PACKET_BYTES_MAX or b"<!" in xmp:
        return None
    try:
        return ET.fromstring(xmp.strip(b"\x00 \t\r\n"))  # noqa: S314 - no entities are let in
    except (ET.ParseError, ValueError, LookupError):
        return None
