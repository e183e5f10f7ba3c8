#!/usr/bin/env python3
"""Reference for the protocol's bytes (docs/protocol.md), and the maker of tests/vectors/wire.json.

Written from that page, the Protocol Buffers encoding page and the Roaring format page alone; it shares no code with
crates/wire. `pip install blake3` is all it needs.

  python3 tests/vectors/wire.py        writes tests/vectors/wire.json, the same bytes on every run

In the file every byte string is lower-case hex, every integer a JSON integer (up to 2^64 - 1), `null` an absent value.
A set of parts is `{"count": n, "runs": [[first, how many, step], ...]}`. Where bytes end in many equal ones, `repeat`
holds `[those bytes, how often]`, to be appended to `encoded`.

  names              protocols, topics, provider keys
  messages           kind, fields, and the one encoding that the encoders of most languages make
  other_encodings    more bytes that decode to the same fields
  refused_messages   bytes that are no message of the kind, with the reason; a refused end is of an answer over 7 parts
  frames             headers, those of parts with their index
  answers            what a requester expects, whole streams, and what they come to
  refused_answers    streams up to the byte after which they must be refused, with the reason
"""
import json
import pathlib

from blake3 import blake3

HERE = pathlib.Path(__file__).parent
CHAIN = bytes(range(32))
ROOT = bytes([0xAA]) * 32
REASONS = ["none", "not_held", "not_retained", "busy", "unsupported", "invalid"]


# ----------------------------------------------------------------------------------------------------- Protocol Buffers
def varint(n: int) -> bytes:
    out = b""
    while n >= 128:
        out, n = out + bytes([n & 127 | 128]), n >> 7
    return out + bytes([n])


def number(field: int, n: int) -> bytes:
    """Absent where it is zero, as proto3 has it."""
    return varint(field << 3) + varint(n) if n else b""


def item(field: int, data: bytes) -> bytes:
    """A message, or an item of a list: there even when it is empty."""
    return varint(field << 3 | 2) + varint(len(data)) + data


def data(field: int, data: bytes) -> bytes:
    """Bytes: absent where they are empty."""
    return item(field, data) if data else b""


def packed(field: int, numbers: list[int]) -> bytes:
    return data(field, b"".join(map(varint, numbers)))


# -------------------------------------------------------------------------------------------------------------- Roaring
def u16(n: int) -> bytes:
    return n.to_bytes(2, "little")


def u32(n: int) -> bytes:
    return n.to_bytes(4, "little")


def u64(n: int) -> bytes:
    return n.to_bytes(8, "little")


def container(values: list[int]) -> tuple[bool, bytes]:
    """Whether 65,536 bits are written as runs, and their bytes."""
    runs = []
    for value in values:
        if runs and runs[-1][0] + runs[-1][1] + 1 == value:
            runs[-1][1] += 1
        else:
            runs.append([value, 0])
    if len(values) <= 4096:
        plain = b"".join(map(u16, values))
    else:
        plain = sum(1 << value for value in values).to_bytes(8192, "little")
    as_runs = u16(len(runs)) + b"".join(u16(first) + u16(more) for first, more in runs)
    return (True, as_runs) if len(as_runs) < len(plain) else (False, plain)


def bitmap(parts: dict) -> bytes:
    values = [first + step * i for first, many, step in parts["runs"] for i in range(many)]
    assert values == sorted(set(values))
    highs = sorted({value >> 16 for value in values})
    lows = [[value & 0xFFFF for value in values if value >> 16 == high] for high in highs]
    containers = [container(low) for low in lows]
    any_runs = any(runs for runs, _ in containers)
    if any_runs:
        flags = sum(runs << at for at, (runs, _) in enumerate(containers))
        head = u32(len(highs) - 1 << 16 | 12347) + flags.to_bytes((len(highs) + 7) // 8, "little")
    else:
        head = u32(12346) + u32(len(highs))
    head += b"".join(u16(high) + u16(len(low) - 1) for high, low in zip(highs, lows))
    if not any_runs or len(highs) >= 4:
        at = len(head) + 4 * len(highs)
        for _, body in containers:
            head += u32(at)
            at += len(body)
    return head + b"".join(body for _, body in containers)


def parts_of(count: int, *runs: tuple[int, ...]) -> dict:
    """Runs of neighbours, where no step is given."""
    return {"count": count, "runs": [[*run, 1][:3] for run in runs]}


# ------------------------------------------------------------------------------------------------------------- messages
def h(text: str) -> bytes:
    return bytes.fromhex(text)


def refusal(f) -> bytes:
    return number(1, REASONS.index(f["reason"])) + number(2, f["retry_after_ms"])


def holding(f) -> bytes:
    return (number(1, f["shard"]) + number(2, f["epoch"]) + data(3, h(f["root"])) + number(4, f["cut"])
            + number(5, f["held"]["count"]) + data(6, bitmap(f["held"])))


def following(f) -> bytes:
    return number(1, f["shard"]) + number(2, f["first_height"]) + number(3, f["last_height"])


def summary(f) -> bytes:
    return (b"".join(item(1, holding(x)) for x in f["holdings"])
            + b"".join(item(2, following(x)) for x in f["following"]))


def head(f) -> bytes:
    return data(1, h(f["signed_ledger_info"])) + data(2, h(f["block"]))


def waypoint(f) -> bytes:
    return data(1, h(f["signed_ledger_info"])) + data(2, h(f["next_epoch_info"]))


def epoch_ends(f) -> bytes:
    return b"".join(item(1, h(x)) for x in f["signed_ledger_infos"])


def proofs(f) -> bytes:
    return data(1, h(f["signed_ledger_info"])) + b"".join(item(2, h(x)) for x in f["chunk_proofs"])


REQUESTS = {
    "summary": (1, lambda f: packed(1, f["shards"])),
    "head": (2, lambda f: b""),
    "epoch_ends": (3, lambda f: number(1, f["epoch"]) + number(2, f["count"])),
    "waypoint": (4, lambda f: data(1, h(f["ledger_info_hash"]))),
    "proofs": (5, lambda f: number(1, f["height"]) + packed(2, f["shards"])),
}
RESPONSES = {"refusal": (1, refusal), "summary": (2, summary), "head": (3, head), "epoch_ends": (4, epoch_ends),
             "waypoint": (5, waypoint), "proofs": (6, proofs)}


def one_of(arms: dict, f: dict) -> bytes:
    return b"".join(item(arms[arm][0], arms[arm][1](value)) for arm, value in f.items())


def end(f) -> bytes:
    """Of outline and outputs."""
    return refusal(f["refusal"]) if f["refusal"] else b""


def parts_end(f) -> bytes:
    held = f["held"]
    return end(f) + (number(3, held["count"]) + data(4, bitmap(held)) if held else b"")


MESSAGES = {
    "request": lambda f: one_of(REQUESTS, f),
    "response": lambda f: one_of(RESPONSES, f),
    "announcement": lambda f: item(1, holding(f["holding"])) + number(2, f["sequence"]) + number(3, f["expires_at_ms"]),
    "gossiped_head": head,
    "outline_request": lambda f: data(1, h(f["root"])) + number(2, f["cut"]),
    "parts_request": lambda f: data(1, h(f["root"])) + number(2, f["cut"]) + number(3, f["wanted"]["count"])
    + data(4, bitmap(f["wanted"])) + number(5, f["budget_bytes"]),
    "outputs_request": lambda f: number(1, f["shard"]) + number(2, f["after"]) + number(3, f["budget_bytes"])
    + number(4, f["newest_epoch"]),
    "end": end,
    "parts_end": parts_end,
}


def refused_for(reason: str, retry_after_ms: int = 0) -> dict:
    return {"reason": reason, "retry_after_ms": retry_after_ms}


SETS = [
    parts_of(0), parts_of(7), parts_of(7, (0, 7)), parts_of(7, (6, 1)), parts_of(9, (3, 3)), parts_of(9, (3, 4)),
    parts_of(20_000, (0, 1), (2, 1), (19_999, 1)), parts_of(70_000, (65_530, 10)), parts_of(1 << 20, (0, 1 << 20)),
    parts_of(1 << 20, (5, 1), (1 << 17, 1 << 16), ((1 << 20) - 1, 1)),
    parts_of(70_000, (0, 4_097, 2)),                                       # as bits
    parts_of(70_000, (0, 4_096, 2)),                                       # as values
    parts_of(1 << 20, *((high << 16, 9) for high in range(4))),            # as runs, with offsets
    parts_of(1 << 20, *((high << 16, 9) for high in range(3))),            # as runs, without
]


def a_holding(held: dict, shard: int = 1, epoch: int = 2, cut: int = 4_194_304) -> dict:
    return {"shard": shard, "epoch": epoch, "root": ROOT.hex(), "cut": cut, "held": held}


def messages():
    refusals = [refused_for(r) for r in REASONS[1:]] + [refused_for("busy", 1), refused_for("busy", 60_000)]
    for f in ({"summary": {"shards": [0]}}, {"summary": {"shards": [0, 7, 300, 2**32 - 1]}},
              {"summary": {"shards": list(range(16))}}, {"head": {}}, {"epoch_ends": {"epoch": 0, "count": 1}},
              {"epoch_ends": {"epoch": 2**64 - 1, "count": 64}}, {"waypoint": {"ledger_info_hash": ROOT.hex()}},
              {"proofs": {"height": 0, "shards": [0]}}, {"proofs": {"height": 2**40, "shards": list(range(1000))}}):
        yield "request", f
    for f in refusals:
        yield "response", {"refusal": f}
    yield "response", {"summary": {"holdings": [], "following": []}}
    follow = {"shard": 1, "first_height": 300, "last_height": 300}
    yield "response", {"summary": {"holdings": [a_holding(s) for s in SETS[:5]], "following": [follow] * 64}}
    yield "response", {"summary": {"holdings": [a_holding(SETS[0], 0, 0, 0)] * 64, "following": [
        {"shard": 0, "first_height": 0, "last_height": 0}, {"shard": 9, "first_height": 0, "last_height": 2**64 - 1}]}}
    yield "response", {"head": {"signed_ledger_info": "01" * 300, "block": "02" * 88}}
    yield "response", {"epoch_ends": {"signed_ledger_infos": [""]}}
    yield "response", {"epoch_ends": {"signed_ledger_infos": ["01", "", "020304"]}}
    yield "response", {"waypoint": {"signed_ledger_info": "01" * 200, "next_epoch_info": "02" * 127}}
    yield "response", {"proofs": {"signed_ledger_info": "01" * 128, "chunk_proofs": []}}
    yield "response", {"proofs": {"signed_ledger_info": "01", "chunk_proofs": ["02" * 196, "03"]}}
    for held in SETS:
        yield "announcement", {"holding": a_holding(held), "sequence": 300, "expires_at_ms": 1_800_000_000_000}
    yield "gossiped_head", {"signed_ledger_info": "01" * 300, "block": "02" * 88}
    for cut in (0, 65_536, 2**32 - 1):
        yield "outline_request", {"root": ROOT.hex(), "cut": cut}
    for wanted in SETS[2:]:
        yield "parts_request", {"root": ROOT.hex(), "cut": 65_536, "wanted": wanted, "budget_bytes": 1 << 25}
    yield "parts_request", {"root": ROOT.hex(), "cut": 0, "wanted": SETS[3], "budget_bytes": 0}
    yield "outputs_request", {"shard": 0, "after": 0, "budget_bytes": 0, "newest_epoch": 0}
    yield "outputs_request", {"shard": 7, "after": 300, "budget_bytes": 1 << 25, "newest_epoch": 9}
    yield "outputs_request", {"shard": 2**32 - 1, "after": 2**64 - 1, "budget_bytes": 2**64 - 1, "newest_epoch": 2**64 - 1}
    for f in [None] + refusals:
        yield "end", {"refusal": f}
    for f in refusals:
        yield "parts_end", {"refusal": f, "held": None}
    yield "parts_end", {"refusal": None, "held": parts_of(7)}
    yield "parts_end", {"refusal": None, "held": parts_of(7, (2, 4))}
    yield "parts_end", {"refusal": refused_for("busy", 9), "held": parts_of(7, (0, 7))}


UNKNOWN = varint(99 << 3) + b"\x05" + varint(99 << 3 | 1) + bytes(8) + item(99, b"abc") + varint(99 << 3 | 5) + bytes(4)
GROUP = varint(98 << 3 | 3) + item(1, b"") * 99 + varint(98 << 3 | 4)


def other_encodings():
    shards = {"summary": {"shards": [7, 300]}}
    one_by_one = number(1, 7) + number(1, 300)
    yield "request", "numbers one by one", shards, item(1, one_by_one)
    yield "request", "numbers in two packs", shards, item(1, packed(1, [7]) + packed(1, [300]))
    yield "request", "a message in two pieces", shards, item(1, packed(1, [7])) + item(1, packed(1, [300]))
    yield "request", "long varints", shards, item(1, item(1, h("87808000") + h("ac828080808080808000")))
    yield "request", "a later field replaces an earlier one", {"head": {}}, item(1, one_by_one) + item(2, b"")
    yield "request", "unknown fields", shards, UNKNOWN + item(1, UNKNOWN + one_by_one) + UNKNOWN
    yield "request", "an unknown group", shards, item(1, GROUP + one_by_one)
    yield "request", "nothing", {}, b""
    yield "request", "a request that is unknown", {}, item(6, b"abc")
    yield "response", "unknown fields", {"refusal": refused_for("not_held")}, UNKNOWN + item(1, number(1, 1) + UNKNOWN)
    yield "end", "zeros written", {"refusal": None}, h("0800100018002200")
    yield "end", "fields in another order", {"refusal": refused_for("busy", 5)}, number(2, 5) + number(1, 3)
    last = {"shard": 2, "after": 0, "budget_bytes": 0, "newest_epoch": 0}
    yield "outputs_request", "the last of equal fields counts", last, number(1, 1) + number(1, 2)
    a = {"holding": a_holding(SETS[2]), "sequence": 1, "expires_at_ms": 2}
    yield "announcement", "the holding last", a, number(3, 2) + number(2, 1) + item(1, holding(a["holding"]))
    pieces = [holding(a["holding"])[:4], holding(a["holding"])[4:]]
    yield "announcement", "the holding in two pieces", a, b"".join(item(1, p) for p in pieces) + h("10011802")


def with_holding(root: bytes = ROOT, count: int = 7, held: bytes = bitmap(SETS[2])) -> bytes:
    return data(3, root) + number(5, count) + data(6, held)


def refused_messages():
    """kind, name, bytes, reason, and what is repeated behind the bytes."""
    full = bitmap(SETS[2])
    plain = u32(12346) + u32(1) + u16(0) + u16(6) + u32(16) + b"".join(map(u16, range(7)))
    bits = u32(12346) + u32(1) + u16(0) + u16(6) + u32(16) + (127).to_bytes(8192, "little")
    split = u32(12347) + b"\x01" + u16(0) + u16(6) + u16(2) + u16(0) + u16(2) + u16(3) + u16(3)
    for name, held in [("absent", b""), ("with a byte too few", full[:-1]), ("with a byte too many", full + b"\0"),
                       ("as values where runs are shorter", plain), ("as bits", bits), ("with a run in two", split),
                       ("with an index at the count", bitmap(parts_of(8, (0, 8)))), ("of another format", b"\0" * 8)]:
        yield "announcement", f"a bitmap {name}", item(1, with_holding(held=held)), "bitmap"
        yield "parts_request", f"a bitmap {name}", data(1, ROOT) + number(3, 7) + data(4, held), "bitmap"
        yield "parts_end", f"a bitmap {name}", number(3, 7) + data(4, held), "bitmap"
    for length in (0, 31, 33):
        root = ROOT[:1] * length
        yield "announcement", f"a root of {length} bytes", item(1, with_holding(root=root)), "hash"
        yield "outline_request", f"a root of {length} bytes", data(1, root), "hash"
        yield "parts_request", f"a root of {length} bytes", data(1, root) + h("1807220f") + full, "hash"
        yield "request", f"a waypoint of {length} bytes", item(4, data(1, root)), "hash"
        yield "response", f"a root of {length} bytes", item(2, item(1, with_holding(root=root))), "hash"
    yield "announcement", "no holding", number(2, 1), "hash"
    yield "announcement", "too many parts", item(1, with_holding(count=(1 << 20) + 1)), "part count"
    yield "parts_request", "too many parts", data(1, ROOT) + number(3, (1 << 20) + 1) + data(4, full), "part count"
    yield "parts_request", "no part wanted", data(1, ROOT) + number(3, 7) + data(4, bitmap(SETS[1])), "no part wanted"
    yield "request", "no shards", item(1, b""), "no item"
    yield "request", "proofs of no shards", item(5, number(1, 5)), "no item"
    yield "request", "17 shards", item(1, packed(1, [1] * 17)), "too many items"
    yield "request", "17 shards one by one", item(1, number(1, 1) * 17), "too many items"
    yield "request", "9 shards twice", item(1, packed(1, [1] * 9)) * 2, "too many items"
    yield "request", "proofs of 1,001 shards", item(5, packed(2, [1] * 1001)), "too many items"
    for field, inner, name in ((1, 1, "a summary"), (5, 2, "proofs")):
        for what, wrong in (("a shard twice", [7, 7]), ("shards falling", [7, 300, 299]), ("shard 0 last", [7, 0])):
            yield "request", f"{name} of {what}", item(field, packed(inner, wrong)), "shard order"
    yield "request", "shards that rise in each of two pieces alone", item(1, packed(1, [7, 9]) + packed(1, [8])), "shard order"
    yield "request", "no epoch ends", item(3, number(1, 5)), "count"
    yield "response", "no epoch ends", item(4, b""), "no item"
    yield "request", "65 epoch ends", item(3, number(2, 65)), "count"
    yield "response", "65 holdings", item(2, item(1, b"") * 65), "too many items"
    yield "response", "65 followings", item(2, item(2, b"") * 65), "too many items"
    yield "response", "33 holdings twice", item(2, item(1, b"") * 33) * 2, "too many items"
    yield "response", "65 epoch ends", item(4, item(1, b"") * 65), "too many items"
    yield "response", "1,001 proofs", item(6, item(2, b"") * 1001), "too many items"
    items = 4_194_301
    for field, inner, name in ((2, 1, "holdings"), (2, 2, "followings"), (4, 1, "epoch ends"), (6, 2, "proofs")):
        start = varint(field << 3 | 2) + varint(2 * items)
        yield "response", f"millions of {name}", start, "too many items", [item(inner, b""), items]
    yield "response", "nothing", b"", "empty"
    yield "response", "an unknown one", item(7, b"abc"), "empty"
    yield "response", "heights that end before they begin", item(2, item(2, h("1002 1801"))), "heights"
    for kind, wrap in (("response", lambda x: item(1, x)), ("end", lambda x: x), ("parts_end", lambda x: x)):
        yield kind, "an unknown reason", wrap(number(1, 6)), "reason"
        yield kind, "a negative reason", wrap(number(1, 2**64 - 1)), "reason"
        yield kind, "a wait of more than a minute", wrap(number(1, 3) + number(2, 60_001)), "wait"
        yield kind, "a wait without busy", wrap(number(1, 1) + number(2, 5)), "wait"
        yield kind, "a wait without a reason", wrap(number(2, 5)), "wait"
    yield "response", "a refusal without a reason", item(1, b""), "reason"
    yield "end", "held parts of another stream", number(3, 7) + data(4, full), "parts of the end"
    yield "parts_end", "another number of parts", number(3, 8) + data(4, full), "parts of the end"
    yield "parts_end", "a bitmap without a number of parts", data(4, full), "parts of the end"
    yield "parts_end", "neither a reason nor what is held", b"", "nothing held"
    for kind in MESSAGES:
        for name, wrong in (("a field cut off", h("08")), ("an endless varint", h("08") + b"\x80" * 10 + b"\0"),
                            ("bytes beyond the end", h("9a0605616263")), ("wire type 6", h("9e06")),
                            ("field 0", h("0000")), ("an end of no group", h("9c06")), ("an open group", h("9b06"))):
            yield kind, name, wrong, "malformed"
    limits = {"request": 196_608, "response": 8_388_608, "announcement": 262_144, "gossiped_head": 262_144,
              "outline_request": 196_608, "parts_request": 196_608, "outputs_request": 196_608, "end": 147_456,
              "parts_end": 147_456}
    for kind, limit in limits.items():
        yield kind, "one byte too long", b"", "too long", [b"\0", limit + 1]


# --------------------------------------------------------------------------------------------------- frames and streams
KINDS = ["end", "part_raw", "part_lz4", "outline", "range", "outputs"]


def header(kind: str, length: int) -> bytes:
    return bytes([KINDS.index(kind)]) + u32(length)


def frame(kind: str, body: bytes) -> bytes:
    return header(kind, len(body)) + body


def part(kind: str, index: int, body: bytes) -> bytes:
    return frame(kind, u32(index) + body)


def frames():
    for kind, length in zip(KINDS, (0, 4, 5, 65_536, 8_388_608, 67_108_868)):
        yield {"kind": kind, "body_bytes": length, "encoded": header(kind, length).hex()}
    for kind, index, length in (("part_raw", 0, 4_194_304), ("part_lz4", 0x01020304, 300)):
        encoded = header(kind, length + 4) + u32(index)
        yield {"kind": kind, "part": index, "packed_bytes": length, "encoded": encoded.hex()}


PARTS = {"count": 9, "parts": [[2, 100], [5, 7], [6, 4000]]}
OUTPUTS = {"output_bytes": [0, 10, 300]}
NO_END = frame("end", b"")
NOT_HELD = frame("end", refusal(refused_for("not_held")))


def outlines() -> list[dict]:
    states = {state["name"]: state for state in json.loads((HERE / "vectors.json").read_text())["states"]}
    empty = states["empty"]["outlines"][0]
    small = states["two entries one byte over a bucket"]["outlines"][0]
    return [empty, small, next(o for o in states["structured keys"]["outlines"] if o["cut"] == 32_768)]


def expected_outline(o: dict) -> dict:
    return {"root": o["root"], "cut": o["cut"]}


def answers():
    """stream, name, what is expected, bytes, what they come to."""
    held = parts_of(9, (2, 1), (5, 2))
    raw, lz4 = part("part_raw", 2, b"r" * 100), part("part_lz4", 6, b"z" * 3999)
    small = part("part_raw", 5, b"s" * 7)
    sent = [{"part": 2, "packing": "raw", "packed": (b"r" * 100).hex()},
            {"part": 6, "packing": "lz4", "packed": (b"z" * 3999).hex()},
            {"part": 5, "packing": "raw", "packed": (b"s" * 7).hex()}]
    whole = frame("end", parts_end({"refusal": None, "held": held}))
    some = frame("end", parts_end({"refusal": refused_for("not_retained"), "held": None}))
    yield ("parts", "all, in another order", PARTS, raw + lz4 + small + whole,
           {"parts": sent, "refusal": None, "held": held, "missing": parts_of(9)})
    yield ("parts", "one, and why there are no more", PARTS, raw + some,
           {"parts": sent[:1], "refusal": refused_for("not_retained"), "held": None, "missing": parts_of(9, (5, 2))})
    yield ("parts", "one, the budget being spent", PARTS, lz4 + whole,
           {"parts": sent[1:2], "refusal": None, "held": held, "missing": parts_of(9, (2, 1), (5, 1))})
    yield ("parts", "none", PARTS, NOT_HELD,
           {"parts": [], "refusal": refused_for("not_held"), "held": None, "missing": parts_of(9, (2, 1), (5, 2))})
    for o in outlines():
        data = h(o["opening"]) + h(o["records"])
        for size in (65_536, 50, 48, 7, 1):
            cut = [data[at:at + size] for at in range(0, len(data), size)]
            stream = b"".join(frame("outline", piece) for piece in cut) + NO_END
            yield ("outline", f"{len(cut)} frames", expected_outline(o), stream,
                   {"opening": o["opening"], "records": o["records"], "refusal": None})
        yield ("outline", "complete, and a reason all the same", expected_outline(o), stream[:-len(NO_END)] + NOT_HELD,
               {"opening": o["opening"], "records": o["records"], "refusal": None})
    yield ("outline", "refused", expected_outline(o), NOT_HELD, {"refusal": refused_for("not_held")})
    yield ("outline", "refused on the way", expected_outline(o), frame("outline", data[:60]) + NOT_HELD,
           {"refusal": refused_for("not_held")})
    chunks = [u32(0), u32(1) + b"o" * 10, u32(2) + b"p" * 300]
    for count in (1, 2, 3):
        for tail, why in ((NO_END, None), (NOT_HELD, refused_for("not_held"))):
            stream = frame("range", b"range") + b"".join(frame("outputs", c) for c in chunks[:count]) + tail
            yield ("outputs", f"{count} chunks", OUTPUTS, stream,
                   {"range": b"range".hex(), "outputs": [c.hex() for c in chunks[:count]], "refusal": why})
    yield ("outputs", "a range, and why there is no more", OUTPUTS, frame("range", b"range") + NOT_HELD,
           {"range": b"range".hex(), "outputs": [], "refusal": refused_for("not_held")})
    none = {"range": b"range".hex(), "outputs": [], "refusal": None}
    yield "outputs", "a range without chunks", {"output_bytes": []}, frame("range", b"range") + NO_END, none
    yield ("parts", "none, for none of them is held", PARTS, frame("end", parts_end({"refusal": None, "held": parts_of(9, (3, 2))})),
           {"parts": [], "refusal": None, "held": parts_of(9, (3, 2)), "missing": parts_of(9, (2, 1), (5, 2))})
    yield ("parts", "none, though they are held, and why", PARTS, frame("end", parts_end({"refusal": refused_for("not_retained"), "held": held})),
           {"parts": [], "refusal": refused_for("not_retained"), "held": held, "missing": parts_of(9, (2, 1), (5, 2))})
    yield ("outputs", "refused", OUTPUTS, NOT_HELD, {"range": None, "outputs": [], "refusal": refused_for("not_held")})


def refused_answers():
    """stream, name, what is expected, bytes, reason."""
    outline = outlines()[1]
    expected = {"parts": PARTS, "outline": expected_outline(outline), "outputs": OUTPUTS}
    whole = h(outline["opening"]) + h(outline["records"])
    own = {"parts": ["part_raw", "part_lz4"], "outline": ["outline"], "outputs": ["range", "outputs"]}
    for stream, kinds in own.items():
        for kind in KINDS[1:]:
            if kind not in kinds:
                yield stream, f"a frame of {kind}", expected[stream], header(kind, 5), "other stream"
        for byte in (6, 255):
            yield stream, f"kind {byte}", expected[stream], bytes([byte]) + u32(0), "unknown kind"
        yield stream, "an end of 147,457 bytes", expected[stream], header("end", 147_457), "body bytes"
        yield stream, "an end of 4 GiB", expected[stream], header("end", 2**32 - 1), "body bytes"
        yield stream, "an end that is no message", expected[stream], frame("end", h("08")), "end"
        yield stream, "an end with an unknown reason", expected[stream], frame("end", h("0806")), "end"

    for kind in own["parts"]:
        for length in (0, 3, 4005, 2**32 - 1):
            yield "parts", f"{kind} of {length} bytes", PARTS, header(kind, length), "body bytes"
        for index in (0, 3, 8, 9, 2**32 - 1):
            yield "parts", f"{kind} {index}", PARTS, header(kind, 11) + u32(index), "not asked"
        again = part("part_raw", 2, bytes(100)) + header(kind, 54) + u32(2)
        yield "parts", f"{kind} again", PARTS, again, "sent twice"
    wrong = (("part_raw", 2, (0, 99, 101)), ("part_lz4", 2, (0, 100, 101)), ("part_lz4", 5, (7, 8)))
    for kind, index, lengths in wrong:
        for length in lengths:
            stream = header(kind, length + 4) + u32(index)
            yield "parts", f"{kind} {index} in {length} bytes", PARTS, stream, "part bytes"
    done = frame("end", parts_end({"refusal": None, "held": parts_of(9)}))
    yield "parts", "a part after the end", PARTS, done + header("part_raw", 104), "after end"
    yield "parts", "an end after the end", PARTS, done + header("end", 0), "after end"
    for runs in ([(6, 1)], [(0, 9)]):
        unsent = frame("end", parts_end({"refusal": None, "held": parts_of(9, *runs)}))
        yield "parts", f"an end without a part and a reason, {runs[0][1]} held", PARTS, unsent, "ends early"
    yield "parts", "an end without what is held", PARTS, NO_END, "end"
    other = frame("end", parts_end({"refusal": None, "held": parts_of(8)}))
    yield "parts", "an end over another number of parts", PARTS, other, "end"

    o = expected["outline"]
    for length in (0, 65_537, 2**32 - 1):
        yield "outline", f"a frame of {length} bytes", o, header("outline", length), "body bytes"
    yield "outline", "an end before the opening", o, NO_END, "ends early"
    yield "outline", "an end within the opening", o, frame("outline", whole[:47]) + NO_END, "ends early"
    yield "outline", "an end within the records", o, frame("outline", whole[:-1]) + NO_END, "ends early"
    yield "outline", "a frame after the outline", o, frame("outline", whole) + header("outline", 1), "outline"
    yield "outline", "bytes after the outline", o, frame("outline", whole + b"\0"), "outline"
    yield "outline", "another opening", o, frame("outline", b"\1" * 48), "outline"
    yield "outline", "another record", o, frame("outline", whole[:-1] + bytes([whole[-1] ^ 1])), "outline"
    yield "outline", "held parts in the end", o, frame("outline", whole) + frame("end", done[5:]), "end"
    yield "outline", "a frame after the end", o, frame("outline", whole) + NO_END + header("end", 0), "after end"

    start = frame("range", b"range")
    first = frame("outputs", u32(0))
    yield "outputs", "a range of 8,388,609 bytes", OUTPUTS, header("range", 8_388_609), "body bytes"
    yield "outputs", "a range of 4 GiB", OUTPUTS, header("range", 2**32 - 1), "body bytes"
    yield "outputs", "outputs before the range", OUTPUTS, header("outputs", 4), "out of order"
    yield "outputs", "a second range", OUTPUTS, start + header("range", 5), "out of order"
    yield "outputs", "an end without a range and a reason", OUTPUTS, NO_END, "ends early"
    yield "outputs", "an end without outputs and a reason", OUTPUTS, start + NO_END, "ends early"
    for length in (0, 3, 5, 14, 2**32 - 1):
        yield "outputs", f"outputs of {length} bytes", OUTPUTS, start + header("outputs", length), "body bytes"
    yield "outputs", "the first outputs again", OUTPUTS, start + first + header("outputs", 4), "body bytes"
    all_of_them = start + first + frame("outputs", bytes(14)) + frame("outputs", bytes(304))
    yield "outputs", "outputs beyond the range", OUTPUTS, all_of_them + header("outputs", 4), "out of order"
    yield "outputs", "outputs after a range without chunks", {"output_bytes": []}, start + header("outputs", 4), "out of order"
    yield "outputs", "outputs after the end", OUTPUTS, start + first + NO_END + header("outputs", 14), "after end"


# ---------------------------------------------------------------------------------------------------------------- names
def names():
    prefix = f"/ketch/1/{CHAIN.hex()}/"
    for kind in ("control", "outline", "parts", "outputs", "kad", "heads"):
        yield {"kind": kind, "chain": CHAIN.hex(), "name": prefix + kind}
    for shard in (0, 15, 16, 300, 2**32 - 1):
        yield {"kind": "held", "chain": CHAIN.hex(), "shard": shard, "name": f"{prefix}held/{shard % 16}"}
    key = blake3(b"ketch.v1.providers").digest()
    for shard, epoch in ((0, 0), (7, 258), (2**32 - 1, 2**64 - 1)):
        digest = blake3(CHAIN + u32(shard) + u64(epoch), key=key).hexdigest()
        yield {"kind": "provider_key", "chain": CHAIN.hex(), "shard": shard, "epoch": epoch, "name": digest}


def refused_row(kind, name, encoded, reason, repeat=None) -> dict:
    row = {"kind": kind, "name": name, "encoded": encoded.hex(), "reason": reason}
    return row | ({"repeat": [repeat[0].hex(), repeat[1]]} if repeat else {})


def document() -> dict:
    return {
        "names": list(names()),
        "messages": [{"kind": k, "fields": f, "encoded": MESSAGES[k](f).hex()} for k, f in messages()],
        "other_encodings": [{"kind": k, "name": n, "fields": f, "encoded": e.hex()}
                            for k, n, f, e in other_encodings()],
        "refused_messages": [refused_row(*row) for row in refused_messages()],
        "frames": list(frames()),
        "answers": [{"stream": s, "name": n, "expected": x, "encoded": e.hex(), "outcome": o}
                    for s, n, x, e, o in answers()],
        "refused_answers": [{"stream": s, "name": n, "expected": x, "encoded": e.hex(), "reason": r}
                            for s, n, x, e, r in refused_answers()],
    }


def text(value: dict) -> str:
    """A line for each vector."""
    lines = []
    for name, rows in value.items():
        rows = ",\n".join("  " + json.dumps(row) for row in rows)
        lines.append(f' "{name}": [\n{rows}\n ]')
    return "{\n" + ",\n".join(lines) + "\n}\n"


if __name__ == "__main__":
    (HERE / "wire.json").write_text(text(document()))
