#!/usr/bin/env python3
"""Reference for the ledger's bytes (docs/ledger.md), and the maker of tests/vectors/ledger.json.

Written from that page alone, in plain slow Python; it shares no code with crates/ledger. `pip install blake3` is all
it needs: ed25519 is here in full (RFC 8032, strict: canonical encodings, no small-order points, no cofactor).

  python3 tests/vectors/ledger.py vectors --to tests/vectors/ledger.json    the vectors, the same bytes on every run
  python3 tests/vectors/ledger.py check tests/vectors/ledger.json           re-check a file of vectors; reads only the file

In the file every byte string is lower-case hex, every integer a JSON integer (up to 2^64 - 1), `null` an absent option.
Beside what `malformed` lists, no beginning of an encoding in `objects` decodes, nor does one with bytes behind it.
"""
import argparse
import copy
import functools
import hashlib
import json
import random

from blake3 import blake3

U32, U64 = 1 << 32, 1 << 64
KEY_MAX, VALUE_MAX, TRANSACTION_MAX = 2048, 4_194_304, 1_048_576
CHUNK_BYTES_MAX = 67_108_864                 # of transactions, of outputs; so the limit of their counts too
SHARDS_MAX, VALIDATORS_MAX = 1000, 1000
PART_BYTES_MIN, PART_BYTES_MAX = 65_536, 67_108_864
PEER_ID_MAX, ADDRESSES_MAX, ADDRESS_MAX, NAME_MAX = 64, 8, 256, 64
SIBLINGS_MAX, HEADERS_MAX = 10, 4096
EPOCH_INFO_MAX = 2_097_152
ZERO = bytes(32)


class Malformed(Exception):
    """Why bytes do not decode."""


class Refused(Exception):
    """Why something that decodes is not believed: a name from the page's tables."""


# ------------------------------------------------------------------------------------------- section 9: keys, section 1
LABELS = ["genesis", "epoch-info", "chunk-header", "block", "ledger-info", "ledger-info.signed"]
TREES = ["chunks", "outputs", "transactions"]
LABELS += [f"{tree}.{part}" for tree in TREES for part in ("leaf", "inner", "tree")]


def plain_hash(data: bytes) -> bytes:
    return blake3(data).digest()


K = {label: plain_hash(b"ketch.v1." + label.encode()) for label in LABELS}


def keyed(label: str, data: bytes) -> bytes:
    return blake3(data, key=K[label]).digest()


def u(bits: int, n: int) -> bytes:
    return n.to_bytes(bits // 8, "little")


def var(data: bytes) -> bytes:
    return u(32, len(data)) + data


def items(encoded: list[bytes]) -> bytes:
    return u(32, len(encoded)) + b"".join(encoded)


def h(text: str) -> bytes:
    return bytes.fromhex(text)


# --------------------------------------------------------------------------------------------------- ed25519, RFC 8032
P = 2**255 - 19
L = 2**252 + 27742317777372353535851937790883648493
D = -121665 * pow(121666, -1, P) % P
ROOT_OF_MINUS_ONE = pow(2, (P - 1) // 4, P)
NEUTRAL = (0, 1, 1, 0)                       # extended coordinates X, Y, Z, T: x = X/Z, y = Y/Z, xy = T/Z


def point_add(a, b):
    f, g = (a[1] - a[0]) * (b[1] - b[0]) % P, (a[1] + a[0]) * (b[1] + b[0]) % P
    c, d = 2 * a[3] * b[3] * D % P, 2 * a[2] * b[2] % P
    e, i, j, k = g - f, d - c, d + c, g + f
    return e * i % P, j * k % P, i * j % P, e * k % P


def point_mul(n: int, a):
    result = NEUTRAL
    while n:
        if n & 1:
            result = point_add(result, a)
        a = point_add(a, a)
        n >>= 1
    return result


def point_equal(a, b) -> bool:
    return (a[0] * b[2] - b[0] * a[2]) % P == 0 and (a[1] * b[2] - b[1] * a[2]) % P == 0


def point_encode(a) -> bytes:
    inverse = pow(a[2], -1, P)
    x, y = a[0] * inverse % P, a[1] * inverse % P
    return u(256, y | (x & 1) << 255)


@functools.lru_cache(None)
def point_decode(data: bytes):
    """The point of a canonical encoding, or None."""
    n = int.from_bytes(data, "little")
    y, sign = n & (1 << 255) - 1, n >> 255
    if y >= P:
        return None
    square = (y * y - 1) * pow(D * y * y + 1, -1, P) % P
    x = pow(square, (P + 3) // 8, P)
    if (x * x - square) % P:
        x = x * ROOT_OF_MINUS_ONE % P
    if (x * x - square) % P or (x == 0 and sign):
        return None
    if x & 1 != sign:
        x = P - x
    return x, y, 1, x * y % P


@functools.lru_cache(None)
def small_order(a) -> bool:
    return point_equal(point_mul(8, a), NEUTRAL)


BASE = point_decode(u(256, 4 * pow(5, -1, P) % P))


def challenge(r: bytes, key: bytes, message: bytes) -> int:
    return int.from_bytes(hashlib.sha512(r + key + message).digest(), "little") % L


def good_key(key: bytes) -> bool:
    point = point_decode(key)
    return point is not None and not small_order(point)


@functools.lru_cache(None)
def verify_signature(key: bytes, message: bytes, signature: bytes) -> bool:
    r, s = signature[:32], int.from_bytes(signature[32:], "little")
    if not good_key(key) or not good_key(r) or s >= L:
        return False
    right = point_add(point_decode(r), point_mul(challenge(r, key, message), point_decode(key)))
    return point_equal(point_mul(s, BASE), right)


def torsion_point():
    """A point of order 8: L times a point that has one in it."""
    y = 2
    while True:
        point = point_decode(u(256, y))
        if point is not None:
            point = point_mul(L, point)
            if not point_equal(point_mul(4, point), NEUTRAL):
                return point
        y += 1


TORSION = torsion_point()


def secret_of(seed: bytes) -> tuple[int, bytes]:
    digest = hashlib.sha512(seed).digest()
    return int.from_bytes(digest[:32], "little") & (1 << 254) - 8 | 1 << 254, digest[32:]


@functools.lru_cache(None)
def public_key(seed: bytes) -> bytes:
    return point_encode(point_mul(secret_of(seed)[0], BASE))


class Signer:
    """A secret key. With `mixed`, its public key has a point of order 8 added: neither small-order nor in the subgroup."""

    def __init__(self, name: str, mixed: bool = False):
        self.seed = plain_hash(b"ketch ledger vectors: " + name.encode())
        self.secret, self.prefix = secret_of(self.seed)
        self.mixed = mixed
        point = point_mul(self.secret, BASE)
        self.key = point_encode(point_add(point, TORSION) if mixed else point)

    def sign(self, message: bytes, k_mod_8_is_0: bool = True) -> bytes:
        """RFC 8032 for ordinary keys; a mixed key tries nonces until the challenge kills the torsion, or does not."""
        for nonce in range(1000):
            data = self.prefix + (u(32, nonce) if nonce else b"") + message
            r = int.from_bytes(hashlib.sha512(data).digest(), "little") % L
            encoded = point_encode(point_mul(r, BASE))
            k = challenge(encoded, self.key, message)
            if not self.mixed or (k % 8 == 0) == k_mod_8_is_0:
                return encoded + u(256, (r + k * self.secret) % L)
        raise AssertionError("unlucky")

    def sign_small_order_r(self, message: bytes, r: bytes = point_encode(NEUTRAL)) -> bytes:
        """R is the neutral point: right by the equation, refused for R."""
        return r + u(256, challenge(r, self.key, message) * self.secret % L)

    def sign_torsion_r(self, message: bytes) -> bytes:
        """R has a point of order 8 added: right by the equation with the cofactor only."""
        r = int.from_bytes(hashlib.sha512(self.prefix + message).digest(), "little") % L
        encoded = point_encode(point_add(point_mul(r, BASE), TORSION))
        return encoded + u(256, (r + challenge(encoded, self.key, message) * self.secret) % L)


# -------------------------------------------------------------------------------------------------- section 5: trees
def tree_split(n: int) -> int:
    k = 1
    while k * 2 < n:
        k *= 2
    return k


def tree_top(tree: str, xs: list[bytes]) -> bytes:
    if not xs:
        return ZERO
    if len(xs) == 1:
        return keyed(tree + ".leaf", xs[0])
    k = tree_split(len(xs))
    return keyed(tree + ".inner", tree_top(tree, xs[:k]) + tree_top(tree, xs[k:]))


def tree_root(tree: str, xs: list[bytes]) -> bytes:
    return keyed(tree + ".tree", u(32, len(xs)) + tree_top(tree, xs))


def tree_proof(tree: str, xs: list[bytes], i: int) -> list[bytes]:
    if len(xs) == 1:
        return []
    k = tree_split(len(xs))
    if i < k:
        return tree_proof(tree, xs[:k], i) + [tree_top(tree, xs[k:])]
    return tree_proof(tree, xs[k:], i - k) + [tree_top(tree, xs[:k])]


def tree_verify(tree: str, root: bytes, n: int, i: int, x: bytes, siblings: list[bytes]) -> bool:
    if i >= n:
        return False
    sides = []                               # from the top down: is the item to the left there?
    count, place = n, i
    while count > 1:
        k = tree_split(count)
        sides.append(place < k)
        count, place = (k, place) if place < k else (count - k, place - k)
    if len(siblings) != len(sides):
        return False
    top = keyed(tree + ".leaf", x)
    for sibling, left in zip(siblings, reversed(sides)):
        top = keyed(tree + ".inner", top + sibling if left else sibling + top)
    return keyed(tree + ".tree", u(32, n) + top) == root


# --------------------------------------------------------------------- sections 2 to 8: encoders, which check nothing
# Objects are dicts of plain values, as they stand in the vectors' `fields`.
def encode_layout(f: dict, last: int = 0) -> bytes:
    return (items([u(32, s) for s in f["shards"]]) + items([var(h(b)) for b in f["boundaries"]])
            + u(32, f["part_bytes"]) + bytes([last]))


def encode_validator(f: dict) -> bytes:
    return (h(f["key"]) + u(64, f["power"]) + var(h(f["peer_id"])) + items([var(h(a)) for a in f["addresses"]])
            + items([u(32, s) for s in f["shards"]]))


def encode_epoch_info(f: dict, last: int = 0) -> bytes:
    return (u(64, f["epoch"]) + u(64, f["first_height"]) + u(64, f["length"]) + encode_layout(f["layout"], last)
            + items([encode_validator(v) for v in f["validators"]]))


def encode_chunk_header(f: dict) -> bytes:
    return (u(32, f["shard"]) + u(64, f["height"]) + h(f["previous"]) + h(f["state_before"]) + h(f["state_after"])
            + h(f["transactions_root"]) + u(32, f["transactions"]) + u(64, f["transactions_bytes"])
            + h(f["outputs_root"]) + u(32, f["outputs"]) + u(64, f["outputs_bytes"]))


def encode_output(f: dict) -> bytes:
    return var(h(f["key"])) + (b"\0" if f["value"] is None else b"\1" + var(h(f["value"])))


def encode_outputs(f: dict) -> bytes:
    return items([encode_output(o) for o in f["outputs"]])


def encode_block(f: dict) -> bytes:
    return u(64, f["height"]) + u(64, f["epoch"]) + u(64, f["time"]) + h(f["previous"]) + h(f["chunks_root"])


def encode_genesis(f: dict) -> bytes:
    return (var(f["name"].encode()) + u(64, f["time"]) + encode_epoch_info(f["epoch_0"]) + encode_epoch_info(f["epoch_1"])
            + items([h(r) for r in f["state_roots"]]))


def encode_ledger_info(f: dict) -> bytes:
    end = f["epoch_end"]
    return (h(f["chain_id"]) + u(64, f["epoch"]) + u(64, f["height"]) + h(f["block_hash"]) + h(f["chunks_root"])
            + (b"\0" if end is None else b"\1" + h(end["next"]) + encode_epoch_info(end["info"])))


def encode_signed_ledger_info(f: dict) -> bytes:
    return encode_ledger_info(f["ledger_info"]) + items([u(32, s["validator"]) + h(s["signature"]) for s in f["signatures"]])


def encode_chunk_proof(f: dict) -> bytes:
    return encode_chunk_header(f["header"]) + items([h(s) for s in f["siblings"]])


def encode_chunk_range(f: dict) -> bytes:
    return (encode_signed_ledger_info(f["signed"]) + items([h(s) for s in f["siblings"]])
            + items([encode_chunk_header(x) for x in f["headers"]]))


ENCODE = {"epoch_info": encode_epoch_info, "chunk_header": encode_chunk_header, "outputs": encode_outputs,
          "block": encode_block, "genesis": encode_genesis, "ledger_info": encode_ledger_info,
          "signed_ledger_info": encode_signed_ledger_info, "chunk_proof": encode_chunk_proof,
          "chunk_range": encode_chunk_range}
HASHED = {"epoch_info": "epoch-info", "chunk_header": "chunk-header", "block": "block", "genesis": "genesis",
          "ledger_info": "ledger-info"}


def object_hash(kind: str, f: dict) -> bytes:
    return keyed(HASHED[kind], ENCODE[kind](f))


# ------------------------------------------------------------------------ sections 2 to 8: decoders, which check all
def need(condition: bool, reason: str) -> None:
    if not condition:
        raise Malformed(reason)


class Reader:
    def __init__(self, data: bytes):
        self.data, self.at = data, 0

    def take(self, n: int) -> bytes:
        need(self.at + n <= len(self.data), "truncated")
        self.at += n
        return self.data[self.at - n:self.at]

    def number(self, bits: int) -> int:
        return int.from_bytes(self.take(bits // 8), "little")

    def hash(self) -> str:
        return self.take(32).hex()

    def count(self, what: str, least: int, most: int) -> int:
        n = self.number(32)
        need(n >= least, f"too few {what}")
        need(n <= most, f"too many {what}")
        return n

    def text(self, what: str, least: int, most: int) -> bytes:
        n = self.number(32)
        need(n >= least, f"{what} too short")
        need(n <= most, f"{what} too long")
        return self.take(n)

    def option(self) -> bool:
        tag = self.number(8)
        need(tag <= 1, "unknown tag")
        return tag == 1


def rising(values: list) -> bool:
    return all(a < b for a, b in zip(values, values[1:]))


def read_layout(r: Reader) -> dict:
    shards = [r.number(32) for _ in range(r.count("shards", 1, SHARDS_MAX))]
    need(len(set(shards)) == len(shards), "shard ids not distinct")
    n = r.number(32)
    need(n == len(shards) - 1, "number of boundaries")
    boundaries = [r.text("boundary", 1, KEY_MAX) for _ in range(n)]
    need(rising(boundaries), "boundaries not rising")
    part_bytes = r.number(32)
    need(PART_BYTES_MIN <= part_bytes <= PART_BYTES_MAX, "part_bytes out of bounds")
    need(r.number(8) == 0, "layout changes")
    return {"shards": shards, "boundaries": [b.hex() for b in boundaries], "part_bytes": part_bytes}


def read_validator(r: Reader, layout: dict) -> dict:
    key, power = r.take(32), r.number(64)
    need(good_key(key), "consensus key")
    need(power >= 1, "zero power")
    peer_id = r.text("peer id", 1, PEER_ID_MAX)
    addresses = [r.text("address", 1, ADDRESS_MAX).hex() for _ in range(r.count("addresses", 0, ADDRESSES_MAX))]
    shards = [r.number(32) for _ in range(r.count("tracked shards", 0, SHARDS_MAX))]
    need(rising(shards), "tracked shards not rising")
    need(set(shards) <= set(layout["shards"]), "tracked shard not in the layout")
    return {"key": key.hex(), "power": power, "peer_id": peer_id.hex(), "addresses": addresses, "shards": shards}


def read_epoch_info(r: Reader) -> dict:
    start = r.at
    epoch, first, length = r.number(64), r.number(64), r.number(64)
    need(length >= 1, "length zero")
    need(first >= 1, "first height zero")
    need(first + length < U64, "heights overflow")
    layout = read_layout(r)
    validators = [read_validator(r, layout) for _ in range(r.count("validators", 1, VALIDATORS_MAX))]
    need(len({v["key"] for v in validators}) == len(validators), "consensus keys not distinct")
    need(len({v["peer_id"] for v in validators}) == len(validators), "peer ids not distinct")
    need(sum(v["power"] for v in validators) < U64, "powers overflow")
    need(r.at - start <= EPOCH_INFO_MAX, "epoch info too long")
    return {"epoch": epoch, "first_height": first, "length": length, "layout": layout, "validators": validators}


def read_chunk_header(r: Reader) -> dict:
    f = {"shard": r.number(32), "height": r.number(64), "previous": r.hash(), "state_before": r.hash(), "state_after": r.hash(),
         "transactions_root": r.hash(), "transactions": r.number(32), "transactions_bytes": r.number(64),
         "outputs_root": r.hash(), "outputs": r.number(32), "outputs_bytes": r.number(64)}
    for what in ("transactions", "outputs"):
        need(f[what] <= CHUNK_BYTES_MAX, f"too many {what}")
        need(f[what + "_bytes"] <= CHUNK_BYTES_MAX, f"too many bytes of {what}")
    if f["height"] == 0:
        need(f == genesis_header(f["shard"], f["state_after"]), "height 0, but not genesis' header")
    for what in ("transactions", "outputs"):
        signs = {f[what] == 0, f[what + "_bytes"] == 0, h(f[what + "_root"]) == tree_root(what, [])}
        need(len(signs) == 1, f"{what} empty in part")
    return f


def read_outputs(r: Reader) -> dict:
    outputs, at = [], r.at + 4
    for _ in range(r.count("outputs", 0, CHUNK_BYTES_MAX)):
        key = r.text("key", 1, KEY_MAX)
        need(not outputs or h(outputs[-1]["key"]) < key, "keys not rising")
        outputs.append({"key": key.hex(), "value": r.text("value", 0, VALUE_MAX).hex() if r.option() else None})
    need(r.at - at <= CHUNK_BYTES_MAX, "too many bytes of outputs")
    return {"outputs": outputs}


def read_block(r: Reader) -> dict:
    f = {"height": r.number(64), "epoch": r.number(64), "time": r.number(64), "previous": r.hash(), "chunks_root": r.hash()}
    need(f["height"] > 0 or (f["epoch"], h(f["previous"])) == (0, ZERO), "height 0, but not genesis' block")
    return f


def read_genesis(r: Reader) -> dict:
    try:
        name = r.text("name", 1, NAME_MAX).decode()
    except UnicodeDecodeError:
        raise Malformed("name not UTF-8") from None
    time, e0, e1 = r.number(64), read_epoch_info(r), read_epoch_info(r)
    need((e0["epoch"], e1["epoch"]) == (0, 1), "epochs are not 0 and 1")
    need(e0["layout"] == e1["layout"], "layouts differ")
    need(e0["first_height"] == 1, "epoch 0 does not begin at height 1")
    need(e1["first_height"] == e0["first_height"] + e0["length"], "epoch 1 does not follow epoch 0")
    n = r.number(32)
    need(n == len(e0["layout"]["shards"]), "number of state roots")
    return {"name": name, "time": time, "epoch_0": e0, "epoch_1": e1, "state_roots": [r.hash() for _ in range(n)]}


def read_ledger_info(r: Reader) -> dict:
    f = {"chain_id": r.hash(), "epoch": r.number(64), "height": r.number(64), "block_hash": r.hash(), "chunks_root": r.hash()}
    f["epoch_end"] = {"next": r.hash(), "info": read_epoch_info(r)} if r.option() else None
    return f


def read_signed_ledger_info(r: Reader) -> dict:
    info = read_ledger_info(r)
    n = r.count("signatures", 0, VALIDATORS_MAX)
    return {"ledger_info": info, "signatures": [{"validator": r.number(32), "signature": r.take(64).hex()} for _ in range(n)]}


def read_siblings(r: Reader) -> list[str]:
    return [r.hash() for _ in range(r.count("siblings", 0, SIBLINGS_MAX))]


def read_chunk_proof(r: Reader) -> dict:
    return {"header": read_chunk_header(r), "siblings": read_siblings(r)}


def read_chunk_range(r: Reader) -> dict:
    return {"signed": read_signed_ledger_info(r), "siblings": read_siblings(r),
            "headers": [read_chunk_header(r) for _ in range(r.count("headers", 0, HEADERS_MAX))]}


READ = {"epoch_info": read_epoch_info, "chunk_header": read_chunk_header, "outputs": read_outputs, "block": read_block,
        "genesis": read_genesis, "ledger_info": read_ledger_info, "signed_ledger_info": read_signed_ledger_info,
        "chunk_proof": read_chunk_proof, "chunk_range": read_chunk_range}


def decode(kind: str, data: bytes) -> dict:
    r = Reader(data)
    f = READ[kind](r)
    need(r.at == len(data), "trailing bytes")
    assert ENCODE[kind](f) == data, "two encodings"
    return f


# ----------------------------------------------------------------------------------- what objects make of one another
def outputs_root(f: dict) -> bytes:
    return tree_root("outputs", [encode_output(o) for o in f["outputs"]])


def outputs_bytes(f: dict) -> int:
    return sum(len(encode_output(o)) for o in f["outputs"])


def genesis_header(shard: int, root: str) -> dict:
    return {"shard": shard, "height": 0, "previous": ZERO.hex(), "state_before": root, "state_after": root,
            "transactions_root": tree_root("transactions", []).hex(), "transactions": 0, "transactions_bytes": 0,
            "outputs_root": tree_root("outputs", []).hex(), "outputs": 0, "outputs_bytes": 0}


def chunk_leaf(header: dict) -> bytes:
    return u(32, header["shard"]) + object_hash("chunk_header", header)


def chunks_root(headers: list[dict]) -> bytes:
    return tree_root("chunks", [chunk_leaf(x) for x in headers])


def last_height(info: dict) -> int:
    return info["first_height"] + info["length"] - 1


def signed_message(ledger_info: dict) -> bytes:
    return K["ledger-info.signed"] + h(ledger_info["chain_id"]) + object_hash("ledger_info", ledger_info)


# ------------------------------------------------------------------------------------------------- section 8: checks
def verify_signed(chain_id: bytes, known: dict[int, dict], f: dict) -> None:
    def check(condition: bool, refusal: str) -> None:
        if not condition:
            raise Refused(refusal)

    info = f["ledger_info"]
    check(h(info["chain_id"]) == chain_id, "chain")                                             # 1
    check(info["epoch"] in known, "epoch")                                                      # 2
    epoch, following = known[info["epoch"]], known.get(info["epoch"] + 1)
    check(epoch["first_height"] <= info["height"] <= last_height(epoch), "height")              # 3
    end = info["epoch_end"]
    check((end is not None) == (info["height"] == last_height(epoch)), "epoch end")             # 4
    if end is not None:
        if following is not None:
            check(h(end["next"]) == object_hash("epoch_info", following), "next epoch")         # 5
        check(end["info"]["epoch"] == info["epoch"] + 2, "next epoch")                          # 6
        check(end["info"]["layout"] == epoch["layout"], "next epoch")
        if following is not None:
            check(end["info"]["first_height"] == last_height(following) + 1, "next epoch")
        check(known.get(info["epoch"] + 2, end["info"]) == end["info"], "next epoch")
    positions = [s["validator"] for s in f["signatures"]]
    check(all(p < len(epoch["validators"]) for p in positions) and rising(positions), "signer")  # 7
    power = sum(epoch["validators"][p]["power"] for p in positions)
    check(3 * power > 2 * sum(v["power"] for v in epoch["validators"]), "quorum")               # 8
    for s in f["signatures"]:                                                                   # 9
        key = h(epoch["validators"][s["validator"]]["key"])
        check(verify_signature(key, signed_message(info), h(s["signature"])), "signature")


def verify_chunk_proof(known: dict[int, dict], info: dict, shard: int, header: dict, siblings: list[str]) -> None:
    """`info` is a ledger info that has been verified."""
    shards = known[info["epoch"]]["layout"]["shards"]
    if shard not in shards or header["shard"] != shard:
        raise Refused("shard")
    if header["height"] > info["height"]:
        raise Refused("height")
    if not tree_verify("chunks", h(info["chunks_root"]), len(shards), shards.index(shard), chunk_leaf(header), list(map(h, siblings))):
        raise Refused("proof")


def verify_chunk_range(chain_id: bytes, known: dict[int, dict], trusted: dict, f: dict) -> None:
    verify_signed(chain_id, known, f["signed"])
    verify_chunk_proof(known, f["signed"]["ledger_info"], trusted["shard"], [trusted, *f["headers"]][-1], f["siblings"])
    before = trusted
    for header in f["headers"]:
        if (header["shard"] != before["shard"] or h(header["previous"]) != object_hash("chunk_header", before)
                or header["state_before"] != before["state_after"] or header["height"] <= before["height"]):
            raise Refused("link")
        before = header


def verify_block(info: dict, block: dict) -> None:
    """`info` is a ledger info that has been verified."""
    named = (info["epoch"], info["height"], h(info["block_hash"]), info["chunks_root"])
    if (block["epoch"], block["height"], object_hash("block", block), block["chunks_root"]) != named:
        raise Refused("block")


def verify_waypoint(chain_id: bytes, waypoint: bytes, info: dict, following: dict) -> None:
    if object_hash("ledger_info", info) != waypoint:
        raise Refused("another ledger info")
    if h(info["chain_id"]) != chain_id:
        raise Refused("another chain")
    if info["epoch_end"] is None:
        raise Refused("ends no epoch")
    if object_hash("epoch_info", following) != h(info["epoch_end"]["next"]):
        raise Refused("another next epoch info")
    after = info["epoch_end"]["info"]
    if ((following["epoch"], following["first_height"]) != (info["epoch"] + 1, info["height"] + 1)
            or (after["epoch"], after["first_height"]) != (following["epoch"] + 1, last_height(following) + 1)
            or after["layout"] != following["layout"]):
        raise Refused("epochs that do not follow")


def verify_case(chain_id: bytes, epochs: list[dict], newest: list[dict], case: dict) -> dict:
    """Decode and verify a case of `accepted` or `refused`; returns what was learnt. A range's `trusted` is a height: that of the ledger info under which
    the trusted header is the shard's newest. `newest` are the newest headers of the shards, by height."""
    known = {epochs[i]["epoch"]: epochs[i] for i in case["known"]}
    f = decode(case["kind"], h(case["encoded"]))
    if case["kind"] == "signed_ledger_info":
        info = f["ledger_info"]
        if (case.get("asked_height", info["height"]) != info["height"] or case.get("asked_end", info["epoch"]) != info["epoch"]
                or ("asked_end" in case and info["epoch_end"] is None)):
            raise Refused("not asked")
        verify_signed(chain_id, known, f)
        return {"hash": object_hash("ledger_info", f["ledger_info"]).hex()}
    if case["kind"] in ("block", "chunk_proof"):
        signed = decode("signed_ledger_info", h(case["signed"]))
        try:
            verify_signed(chain_id, known, signed)
        except Refused as e:
            raise AssertionError(f"{case['name']}: the ledger info is refused: {e}") from None
        if case["kind"] == "block":
            verify_block(signed["ledger_info"], f)
            return {"hash": object_hash("block", f).hex()}
        verify_chunk_proof(known, signed["ledger_info"], case["shard"], f["header"], f["siblings"])
        return {"height": f["header"]["height"], "state_after": f["header"]["state_after"]}
    assert case["kind"] == "chunk_range"
    trusted = newest[case["trusted"]][case["shard"]]
    verify_chunk_range(chain_id, known, trusted, f)
    last = [trusted, *f["headers"]][-1]
    return {"height": last["height"], "state_after": last["state_after"]}


# --------------------------------------------------------------------------------------------- vectors: keys and trees
def order_8_multiples() -> list[bytes]:
    return [point_encode(point_mul(i, TORSION)) for i in range(8)]


def non_canonical_key() -> bytes:
    """y + p for a small y whose point is fine: the encoding is all that is wrong."""
    return next(u(256, y + P) for y in range(2, 19) if good_key(u(256, y)))


def no_point() -> bytes:
    return next(u(256, y) for y in range(2, 100) if point_decode(u(256, y)) is None)


def key_vectors() -> list[dict]:
    top = 1 << 255
    cases = [(f"{i} times a point of order 8", key) for i, key in enumerate(order_8_multiples())]
    cases += [("y = 1, sign of x set where x is 0", u(256, 1 | top)), ("y = p - 1, sign of x set where x is 0", u(256, P - 1 | top)),
              ("y = p, non-canonical, small order", u(256, P)), ("y = p, non-canonical, sign set, small order", u(256, P | top)),
              ("y = p + 1, non-canonical, small order", u(256, P + 1)),
              ("y = p + 1, non-canonical, sign set, small order", u(256, P + 1 | top)),
              ("non-canonical, not of small order", non_canonical_key()),
              ("the same point's canonical encoding", u(256, int.from_bytes(non_canonical_key(), "little") - P)),
              ("no point of the curve", no_point()), ("all bits set", b"\xff" * 32),
              ("the base point", point_encode(BASE)), ("an ordinary key", Signer("a").key),
              ("an ordinary key with a point of order 8 added: not of small order", Signer("a", mixed=True).key)]
    return [{"name": name, "key": key.hex(), "valid": good_key(key)} for name, key in cases]


def signature_vectors() -> list[dict]:
    """Under keys that are no consensus keys, nothing verifies."""
    info = {"chain_id": "11" * 32, "epoch": 1, "height": 11, "block_hash": "22" * 32, "chunks_root": "33" * 32, "epoch_end": None}
    another = {**info, "height": 12}
    a, mixed, message = Signer("a"), Signer("a", mixed=True), signed_message(info)
    good = a.sign(message)
    s = int.from_bytes(good[32:], "little")
    neutral = point_encode(NEUTRAL)
    any_r = point_encode(point_mul(5, BASE))
    cases = [
        ("valid", True, a.key, info, good),
        ("valid, another ledger info", True, a.key, another, a.sign(signed_message(another))),
        ("of another ledger info", False, a.key, another, good),
        ("another key", False, Signer("b").key, info, good),
        ("S + L", False, a.key, info, good[:32] + u(256, s + L)),
        ("S + 8 L", False, a.key, info, good[:32] + u(256, s + 8 * L)),
        ("a bit of S flipped", False, a.key, info, good[:32] + u(256, s ^ 1)),
        ("the top bit of S set", False, a.key, info, good[:32] + u(256, s | 1 << 255)),
        ("a bit of R flipped", False, a.key, info, bytes([good[0] ^ 1]) + good[1:]),
        ("R of small order, the equation holds", False, a.key, info, a.sign_small_order_r(message)),
        ("R of small order, non-canonical, the equation holds", False, a.key, info, a.sign_small_order_r(message, u(256, P + 1))),
        ("R with a point of order 8 added, the equation holds with the cofactor only", False, a.key, info, a.sign_torsion_r(message)),
        ("key of small order, the equation holds for any ledger info", False, neutral, info, any_r + u(256, 5)),
        ("key and R of small order, S zero", False, neutral, info, neutral + ZERO),
        ("key with a point of order 8 added, the equation holds", True, mixed.key, info, mixed.sign(message)),
        ("key with a point of order 8 added, the equation holds with the cofactor only", False, mixed.key, info,
         mixed.sign(message, k_mod_8_is_0=False)),
        ("zeros", False, a.key, info, bytes(64)),
    ]
    for name, valid, key, said, signature in cases:
        assert verify_signature(key, signed_message(said), signature) == valid, name
    return [{"name": name, "key": key.hex(), "ledger_info": encode_ledger_info(said).hex(),
             "signature": signature.hex(), "valid": valid} for name, valid, key, said, signature in cases]


def tree_vectors(rng: random.Random) -> tuple[list[dict], list[dict]]:
    """Proofs are used of the chunks' tree only, so only it has them here. Its items are of headers at height 0 with the state roots given beside them."""
    trees, refused, headers = [], [], {}
    for tree in TREES:
        for n in (0, 1, 2, 3, 5, 8, 13):
            if tree == "chunks":
                headers[n] = [genesis_header(s, rng.randbytes(32).hex()) for s in rng.sample(range(1000), n)]
                xs = list(map(chunk_leaf, headers[n]))
            elif tree == "outputs":
                xs = [encode_output({"key": bytes([i, rng.randrange(256)]).hex(), "value": None if i % 4 == 3 else rng.randbytes(i).hex()})
                      for i in range(n)]
            else:
                xs = [rng.randbytes(1 + i * i % 37) for i in range(n)]
            entry = {"tree": tree, "n": n, "items": [x.hex() for x in xs], "root": tree_root(tree, xs).hex()}
            if tree == "chunks":
                entry |= {"state_roots": [x["state_after"] for x in headers[n]],
                          "proofs": [[s.hex() for s in tree_proof(tree, xs, i)] for i in range(n)]}
            trees.append(entry)
    zero, one, five = (next(t for t in trees if (t["tree"], t["n"]) == ("chunks", n)) for n in (0, 1, 5))
    xs, proof = five["items"], five["proofs"][2]
    three, doubled = list(map(h, xs[:3])), list(map(h, xs[:3] + [xs[2]]))
    for name, n, i, header, siblings, root in [
        ("index of a neighbour", 5, 3, 2, proof, five["root"]), ("index of its mirror", 5, 1, 2, proof, five["root"]),
        ("index behind the end", 5, 5, 4, five["proofs"][4], five["root"]),
        ("one item less counted", 4, 2, 2, proof[:2], five["root"]), ("one item more counted", 6, 2, 2, proof, five["root"]),
        ("a sibling too few", 5, 2, 2, proof[:-1], five["root"]), ("a sibling too many", 5, 2, 2, proof + [ZERO.hex()], five["root"]),
        ("no siblings", 5, 2, 2, [], five["root"]), ("siblings from the top downwards", 5, 2, 2, proof[::-1], five["root"]),
        ("a bit of a sibling flipped", 5, 2, 2, [proof[0], flip(proof[1]), proof[2]], five["root"]),
        ("another item", 5, 2, 3, proof, five["root"]), ("an item of the empty tree", 0, 0, 0, [], zero["root"]),
        ("the last leaf doubled", 3, 2, 2, [s.hex() for s in tree_proof("chunks", doubled, 2)], tree_root("chunks", three).hex()),
        ("the last leaf doubled, counted as four", 4, 2, 2, [s.hex() for s in tree_proof("chunks", doubled, 2)], tree_root("chunks", three).hex()),
        ("another tree's root", 5, 2, 2, proof, tree_root("outputs", list(map(h, xs))).hex()),
        ("the top without the count", 5, 2, 2, proof, tree_top("chunks", list(map(h, xs))).hex()),
    ]:
        assert not tree_verify("chunks", h(root), n, i, h(xs[header]), list(map(h, siblings))), name
        refused.append({"tree": "chunks", "name": name, "n": n, "index": i, "item": xs[header], "state_root": five["state_roots"][header],
                        "siblings": siblings, "root": root})
    lone = {"tree": "chunks", "name": "a sibling for a lone item", "n": 1, "index": 0, "item": one["items"][0], "state_root": one["state_roots"][0],
            "siblings": [ZERO.hex()], "root": one["root"]}
    assert not tree_verify("chunks", h(lone["root"]), 1, 0, h(lone["item"]), [ZERO])
    return trees, [*refused, lone]


# --------------------------------------------------------------------------------------------- vectors: the small chain
SIGNERS = {s.key.hex(): s for s in [Signer(f"validator {i}") for i in range(6)] + [Signer("validator mixed", mixed=True)]}
KEYS = list(SIGNERS)
SHARDS = [7, 2, 300]
LAYOUT = {"shards": SHARDS, "boundaries": [b"acct/m".hex(), b"acct/t\xc3\xa9".hex()], "part_bytes": 4_194_304}
TIME = 1_760_000_000_000


def validator(i: int, power: int, shards: list[int], addresses: list[bytes] = []) -> dict:
    peer_id = b"\x00\x24\x08\x01\x12\x20" + plain_hash(b"peer %d" % i)
    return {"key": KEYS[i], "power": power, "peer_id": peer_id.hex(), "addresses": [a.hex() for a in addresses], "shards": sorted(shards)}


def chain_epochs() -> list[dict]:
    four = [b"/ip4/10.0.0.1/udp/4001/quic-v1", b"/dns4/node.example/udp/4001/quic-v1"]
    sets = [
        [validator(0, 5, [7, 2, 300], four), validator(1, 4, [2]), validator(2, 2, [7, 300], four[:1]), validator(3, 1, [])],
        [validator(3, 6, [2, 7]), validator(1, 1, [300]), validator(0, 1, [2]), validator(4, 1, [])],
        # one short of 2^64; the first two have exactly two thirds
        [validator(0, (U64 - 1) // 3, [7]), validator(5, (U64 - 1) // 3, [2], four[:1]), validator(2, (U64 - 1) // 3 - 1, [300]), validator(6, 1, [])],
        [validator(2, 1, [2, 7, 300])],
        [validator(1, 10, [2]), validator(2, 10, [7]), validator(3, 10, [300])],
    ]
    epochs, first = [], 1
    for number, (length, members) in enumerate(zip([6, 6, 5, 1, 1000], sets)):
        epochs.append({"epoch": number, "first_height": first, "length": length, "layout": LAYOUT, "validators": members})
        first += length
    return epochs


class Chain:
    def __init__(self, rng: random.Random):
        self.rng, self.epochs = rng, chain_epochs()
        self.genesis = {"name": "vectors", "time": TIME, "epoch_0": self.epochs[0], "epoch_1": self.epochs[1],
                        "state_roots": [rng.randbytes(32).hex() for _ in SHARDS]}
        self.chain_id = object_hash("genesis", self.genesis)
        newest = {s: genesis_header(s, r) for s, r in zip(SHARDS, self.genesis["state_roots"])}
        self.newest, self.chunks = [newest], [list(newest.values())]
        self.blocks = [{"height": 0, "epoch": 0, "time": TIME, "previous": ZERO.hex(), "chunks_root": chunks_root(list(newest.values())).hex()}]
        for height in range(1, 18):
            newest, made = dict(newest), []
            for shard in [7] + [2] * (height % 3 != 1) + [300] * (height in (5, 11, 14)):
                newest[shard] = self.chunk(newest[shard], height)
                made.append(newest[shard])
            self.newest.append(newest)
            self.chunks.append(made)
            self.blocks.append(self.block(height, newest))

    def block(self, height: int, newest: dict) -> dict:
        return {"height": height, "epoch": self.epoch_of(height), "time": TIME + 1000 * height + height * height,
                "previous": object_hash("block", self.blocks[height - 1]).hex(), "chunks_root": chunks_root([newest[s] for s in SHARDS]).hex()}

    def epoch_of(self, height: int) -> int:
        return next(e["epoch"] for e in self.epochs if height <= last_height(e))

    def chunk(self, before: dict, height: int) -> dict:
        rng = self.rng
        keys = sorted({rng.randbytes(rng.randrange(1, 9)) for _ in range(rng.randrange(4))})
        outputs = {"outputs": [{"key": k.hex(), "value": rng.choice([None, rng.randbytes(rng.randrange(12)).hex()])} for k in keys]}
        transactions = [rng.randbytes(rng.randrange(1, 20)) for _ in range(rng.randrange(3))]
        return {"shard": before["shard"], "height": height, "previous": object_hash("chunk_header", before).hex(),
                "state_before": before["state_after"], "state_after": rng.randbytes(32).hex() if keys else before["state_after"],
                "transactions_root": tree_root("transactions", transactions).hex(), "transactions": len(transactions),
                "transactions_bytes": sum(map(len, transactions)), "outputs_root": outputs_root(outputs).hex(),
                "outputs": len(keys), "outputs_bytes": outputs_bytes(outputs)}

    def ledger_info(self, height: int, newest: dict | None = None) -> dict:
        """The ledger info of a height; with `newest`, one that claims other headers."""
        block = self.blocks[height] if newest is None else self.block(height, newest)
        e = block["epoch"]
        end = None
        if height == last_height(self.epochs[e]):
            end = {"next": object_hash("epoch_info", self.epochs[e + 1]).hex(), "info": self.epochs[e + 2]}
        return {"chain_id": self.chain_id.hex(), "epoch": e, "height": height, "block_hash": object_hash("block", block).hex(),
                "chunks_root": block["chunks_root"], "epoch_end": end}

    def sign(self, info: dict, positions: list[int], epoch: int | None = None) -> dict:
        """Rightly signed by these positions of the ledger info's epoch (or of another)."""
        members = self.epochs[info["epoch"] if epoch is None else epoch]["validators"]
        message = signed_message(info)
        return {"ledger_info": info, "signatures": [{"validator": p, "signature": SIGNERS[members[p]["key"]].sign(message).hex()} for p in positions]}

    def quorum(self, info: dict) -> dict:
        return self.sign(info, [[0, 1], [0, 2], [0, 1, 3], [0]][info["epoch"]])

    def siblings(self, newest: dict, shard: int) -> list[str]:
        return [s.hex() for s in tree_proof("chunks", [chunk_leaf(newest[s]) for s in SHARDS], SHARDS.index(shard))]

    def proof(self, height: int, shard: int) -> dict:
        return {"header": self.newest[height][shard], "siblings": self.siblings(self.newest[height], shard)}

    def headers(self, shard: int, above: int, up_to: int) -> list[dict]:
        return [x for made in self.chunks[above + 1:up_to + 1] for x in made if x["shard"] == shard]

    def range(self, shard: int, above: int, up_to: int) -> dict:
        return {"signed": self.quorum(self.ledger_info(up_to)), "siblings": self.siblings(self.newest[up_to], shard),
                "headers": self.headers(shard, above, up_to)}


def changed(f: dict, **changes) -> dict:
    """A deep copy; a name like a__b__0 is a path."""
    f = copy.deepcopy(f)
    for path, value in changes.items():
        *above, last = [int(x) if x.isdigit() else x for x in path.split("__")]
        at = f
        for step in above:
            at = at[step]
        at[last] = value
    return f


def flip(text: str, at: int = 0) -> str:
    data = bytearray(h(text))
    data[at] ^= 1
    return data.hex()


def ledger_vectors(chain: Chain) -> dict:
    epochs, accepted, refused = chain.epochs, [], []
    garbage = "5a" * 64

    def run(case: dict) -> dict:
        return verify_case(chain.chain_id, epochs, chain.newest, case)

    def accept(kind: str, name: str, known: list[int], f: dict, **more) -> None:
        case = {"kind": kind, "name": name, "known": known, **more, "encoded": ENCODE[kind](f).hex()}
        accepted.append({**case, **run(case)})

    def refuse(refusal: str, kind: str, name: str, known: list[int], f: dict, **more) -> None:
        case = {"kind": kind, "name": name, "refusal": refusal, "known": known, **more, "encoded": ENCODE[kind](f).hex()}
        try:
            run(case)
        except Refused as e:
            assert str(e) == refusal, f"{name}: {e}, not {refusal}"
            refused.append(case)
            return
        raise AssertionError(f"accepted: {name}")

    def ok(name: str, known: list[int], signed: dict) -> None:
        accept("signed_ledger_info", name, known, signed)

    def no(refusal: str, name: str, known: list[int], signed: dict) -> None:
        refuse(refusal, "signed_ledger_info", name, known, signed)

    # Signed ledger infos that stand.
    info = chain.ledger_info
    advance = [chain.quorum(info(h_)) for h_ in (6, 12, 17)]
    ok("the first height", [0, 1], chain.sign(info(1), [0, 1]))
    ok("signed by everybody", [0, 1], chain.sign(info(3), [0, 1, 2, 3]))
    ok("three of four signers", [0, 1], chain.sign(info(4), [0, 1, 3]))
    ok("the last height but one has no epoch end", [0, 1], chain.sign(info(5), [0, 1]))
    ok("end of epoch 0", [0, 1], advance[0])
    ok("first height of epoch 1", [0, 1], chain.sign(info(7), [0, 1]))
    ok("first height of epoch 1, as after a waypoint", [1, 2], chain.sign(info(7), [0, 3]))
    ok("end of epoch 1", [0, 1, 2], advance[1])
    ok("end of epoch 1, as after a waypoint", [1, 2], advance[1])
    ok("end of epoch 1, the info of epoch 2 not known", [0, 1], advance[1])
    ok("powers that add up to 2^64 - 1; a key with a point of order 8 added", [1, 2, 3], chain.sign(info(13), [0, 1, 3]))
    ok("powers that add up to 2^64 - 1; everybody", [1, 2, 3], chain.sign(info(14), [0, 1, 2, 3]))
    ok("end of epoch 2", [1, 2, 3], advance[2])
    ok("end of epoch 2, far newer infos known as well", [2, 3, 4], advance[2])

    # Refusals in the table's order: each case passes the checks before its own, and later ones fail as well where they can.
    bad = [{"validator": 0, "signature": garbage}]
    foreign = changed(info(3), chain_id=flip(chain.chain_id.hex()))
    no("chain", "another chain, rightly signed", [0, 1], chain.sign(foreign, [0, 1]))
    no("chain", "another chain, nothing else right", [0, 1], {"ledger_info": changed(info(6), chain_id=ZERO.hex(), epoch=9, height=0), "signatures": bad})
    no("epoch", "an epoch not yet known", [0, 1], chain.quorum(info(13)))
    no("epoch", "an epoch no longer known", [1, 2], chain.quorum(info(3)))
    no("epoch", "the greatest epoch", [0, 1], {"ledger_info": changed(info(6), epoch=U64 - 1), "signatures": []})
    no("epoch", "height of epoch 0, number of an unknown one, no signatures", [0, 1], {"ledger_info": changed(info(3), epoch=2), "signatures": []})
    for name, height, epoch in [("height 0", 0, 0), ("height 0 under epoch 1", 0, 1), ("one above the epoch", 7, 0), ("one below the epoch", 6, 1),
                                ("the greatest height", U64 - 1, 0)]:
        wrong = changed(info(3), height=height, epoch=epoch)
        no("height", f"{name}, rightly signed", [0, 1], chain.quorum(wrong))
    no("height", "outside the epoch, with an epoch end of the wrong epoch and garbage for signatures", [0, 1],
       {"ledger_info": changed(info(12), epoch=0), "signatures": bad * 2})
    no("epoch end", "none at the last height, rightly signed", [0, 1], chain.quorum(changed(info(6), epoch_end=None)))
    no("epoch end", "none at the last height, no signatures", [0, 1], {"ledger_info": changed(info(6), epoch_end=None), "signatures": []})
    no("epoch end", "at the last height but one, rightly signed", [0, 1], chain.quorum(changed(info(6), height=5)))
    no("epoch end", "at the first height, another next and layout, signer out of range", [0, 1],
       {"ledger_info": changed(info(6), height=1, epoch_end__next=ZERO.hex(), epoch_end__info__layout__part_bytes=65_536),
        "signatures": [{"validator": 4, "signature": garbage}]})
    no("next epoch", "another next, rightly signed", [1, 2], chain.quorum(changed(info(12), epoch_end__next=flip(info(12)["epoch_end"]["next"]))))
    no("next epoch", "next is the hash of this epoch's info", [1, 2],
       chain.quorum(changed(info(12), epoch_end__next=object_hash("epoch_info", epochs[1]).hex())))
    no("next epoch", "next is the hash of the info that is held", [1, 2],
       chain.quorum(changed(info(12), epoch_end__next=object_hash("epoch_info", epochs[3]).hex())))
    for name, key, value in [("info of the next epoch's number", "epoch", 2), ("info of this epoch's number", "epoch", 1), ("info of an epoch too late", "epoch", 4),
                             ("other part_bytes", "layout__part_bytes", 65_536), ("shards in another order", "layout__shards", [7, 300, 2]),
                             ("another boundary", "layout__boundaries__0", b"acct/l".hex()), ("first height one too low", "first_height", 17),
                             ("first height one too high", "first_height", 19), ("first height of the next epoch", "first_height", 13)]:
        no("next epoch", f"{name}, rightly signed", [1, 2], chain.quorum(changed(info(12), **{"epoch_end__info__" + key: value})))
    no("next epoch", "info of the next epoch itself, the next not known", [0, 1], chain.quorum(changed(info(12), epoch_end__info=epochs[2])))
    no("next epoch", "another layout, the next not known", [0, 1], chain.quorum(changed(info(12), epoch_end__info__layout__part_bytes=65_536)))
    no("next epoch", "another info of an epoch whose info is known, rightly signed", [1, 2, 3],
       chain.quorum(changed(info(12), epoch_end__info__validators__0__power=2)))
    no("next epoch", "another length of an epoch whose info is known, rightly signed", [0, 1, 2], chain.quorum(changed(info(6), epoch_end__info__length=6)))
    ok("another info of an epoch whose info is not known", [1, 2], chain.quorum(changed(info(12), epoch_end__info__validators__0__power=2)))
    no("next epoch", "another next, a duplicate signer out of range", [1, 2],
       {"ledger_info": changed(info(12), epoch_end__next=ZERO.hex()), "signatures": [{"validator": 9, "signature": garbage}] * 2})

    def with_signatures(height: int, pairs: list[tuple[int, str]]) -> dict:
        return {"ledger_info": info(height), "signatures": [{"validator": p, "signature": s} for p, s in pairs]}

    right = [s["signature"] for s in chain.sign(info(3), [0, 1, 2, 3])["signatures"]]
    no("signer", "a duplicate signer beside a quorum", [0, 1], with_signatures(3, [(0, right[0]), (0, right[0]), (1, right[1])]))
    no("signer", "a duplicate signer that would make the quorum", [0, 1], with_signatures(3, [(0, right[0]), (0, right[0])]))
    no("signer", "positions falling, rightly signed", [0, 1], with_signatures(3, [(1, right[1]), (0, right[0])]))
    no("signer", "one behind the set, beside a quorum", [0, 1], with_signatures(3, [(0, right[0]), (1, right[1]), (4, right[2])]))
    no("signer", "the greatest position", [0, 1], with_signatures(3, [(0, right[0]), (1, right[1]), (U32 - 1, garbage)]))
    no("signer", "a duplicate without quorum, garbage for signatures", [0, 1], with_signatures(3, [(3, garbage), (3, garbage)]))
    no("quorum", "no signatures", [0, 1], with_signatures(3, []))
    no("quorum", "exactly two thirds (8 of 12), rightly signed by three of four", [0, 1], chain.sign(info(3), [0, 2, 3]))
    no("quorum", "exactly two thirds (6 of 9) in one signer", [0, 1], chain.sign(info(8), [0]))
    no("quorum", "three of four signers with 3 of 9", [0, 1], chain.sign(info(8), [1, 2, 3]))
    no("quorum", "exactly two thirds of 2^64 - 1", [1, 2, 3], chain.sign(info(13), [0, 1]))
    no("quorum", "a third and one of 2^64 - 1", [1, 2, 3], chain.sign(info(13), [0, 3]))
    no("quorum", "a third of the next epoch's power counts nothing here", [0, 1], chain.sign(info(5), [2, 3], epoch=1))
    no("quorum", "too little power, garbage for signatures", [0, 1], with_signatures(3, [(0, garbage), (2, garbage), (3, garbage)]))

    signers = [SIGNERS[v["key"]] for v in epochs[0]["validators"]]
    message = signed_message(info(3))
    order = int.from_bytes(h(right[0])[32:], "little")
    message_of_other_chain = K["ledger-info.signed"] + h(foreign["chain_id"]) + object_hash("ledger_info", info(3))
    for name, signature in [
        ("garbage", garbage), ("zeros", "00" * 64), ("of another validator", right[2]), ("a bit of R flipped", flip(right[0])),
        ("a bit of S flipped", flip(right[0], 32)), ("S + L", right[0][:64] + u(256, order + L).hex()),
        ("R of small order, the equation holds", signers[0].sign_small_order_r(message).hex()),
        ("R with a point of order 8 added", signers[0].sign_torsion_r(message).hex()),
        ("over another chain id's message", signers[0].sign(message_of_other_chain).hex()),
        ("over another height's message", signers[0].sign(signed_message(info(4))).hex()),
        ("over the ledger info's hash alone", signers[0].sign(message[64:]).hex()),
        ("over the message without the domain", signers[0].sign(message[32:]).hex()),
        ("over the domain's label in place of its key", signers[0].sign(b"ketch.v1.ledger-info.signed" + message[32:]).hex()),
        ("over the ledger info's bytes", signers[0].sign(encode_ledger_info(info(3))).hex()),
        ("over the block's hash", signers[0].sign(h(info(3)["block_hash"])).hex()),
    ]:
        no("signature", name, [0, 1], with_signatures(3, [(0, signature), (1, right[1])]))
    no("signature", "two signatures exchanged", [0, 1], with_signatures(3, [(0, right[1]), (1, right[0])]))
    no("signature", "the last of four, beyond the quorum, garbage", [0, 1], with_signatures(3, [(0, right[0]), (1, right[1]), (2, right[2]), (3, garbage)]))
    no("signature", "the first of four, beyond the quorum in no order", [0, 1], with_signatures(3, [(0, right[0]), (1, right[1]), (2, garbage), (3, right[3])]))
    no("signature", "signed by the next epoch's set", [0, 1], chain.sign(info(3), [0, 1, 2, 3], epoch=1))
    no("signature", "the ledger info changed after signing", [0, 1], changed(chain.quorum(info(3)), ledger_info__block_hash=ZERO.hex()))
    no("signature", "an epoch end changed after signing", [0, 1],
       changed(chain.quorum(info(6)), ledger_info__epoch_end__info__validators__0__power=1))
    mixed = chain.sign(info(13), [0, 1, 3])
    mixed["signatures"][2]["signature"] = SIGNERS[KEYS[6]].sign(signed_message(info(13)), k_mod_8_is_0=False).hex()
    no("signature", "a key with a point of order 8 added, the equation holds with the cofactor only", [1, 2, 3], mixed)

    # What was asked for by its height, or as the end of an epoch, is that or refused before all else.
    for asked, height, known in [({"asked_height": 3}, 3, [0, 1]), ({"asked_end": 1}, 12, [1, 2])]:
        accept("signed_ledger_info", "as asked for", known, chain.quorum(info(height)), **asked)
    for name, asked, height, known in [
        ("another height", {"asked_height": 4}, 3, [0, 1]), ("another height of an unknown epoch", {"asked_height": 4}, 13, [0, 1]),
        ("the end of another epoch", {"asked_end": 0}, 12, [0, 1]), ("the end of an unknown epoch", {"asked_end": 0}, 17, [0, 1]),
        ("no end, but of the epoch", {"asked_end": 0}, 3, [0, 1])]:
        refuse("not asked", "signed_ledger_info", f"{name}, rightly signed", known, chain.quorum(info(height)), **asked)
    refuse("not asked", "signed_ledger_info", "another height, another chain, no signatures", [0, 1], changed(chain.sign(foreign, [])), asked_height=4)

    # Blocks that come with their ledger infos, as heads.
    def head(height: int, known: list[int], /, **changes) -> dict:
        return {"known": known, "signed": encode_signed_ledger_info(chain.quorum(changed(info(height), **changes))).hex()}

    for height, known in [(3, [0, 1]), (6, [0, 1]), (13, [1, 2, 3])]:
        accept("block", f"the block at height {height}", f=chain.blocks[height], **head(height, known))
    for name, f, more in [
        ("the block before", chain.blocks[2], head(3, [0, 1])), ("another time", changed(chain.blocks[3], time=1), head(3, [0, 1])),
        ("another block before it", changed(chain.blocks[3], previous=ZERO.hex()), head(3, [0, 1])),
        ("signed all the same: the hash beside another root", chain.blocks[3], head(3, [0, 1], chunks_root=ZERO.hex())),
        ("signed all the same: the hash beside another height", chain.blocks[3], head(3, [0, 1], height=4)),
        ("signed all the same: another block's hash", chain.blocks[5], head(8, [0, 1], block_hash=object_hash("block", chain.blocks[5]).hex()))]:
        refuse("block", "block", name, f=f, **more)

    # Chunk proofs.
    def signed_hex(height: int, newest: dict | None = None) -> str:
        return encode_signed_ledger_info(chain.quorum(info(height, newest))).hex()

    for height, known in [(1, [0, 1]), (5, [0, 1]), (13, [1, 2, 3])]:
        for shard in SHARDS:
            f = chain.proof(height, shard)
            accept("chunk_proof", f"shard {shard} at height {height}, header of height {f['header']['height']}", known, f,
                   signed=signed_hex(height), shard=shard)
    at = {"signed": signed_hex(5), "known": [0, 1]}
    seven, two, last = (chain.proof(5, s) for s in SHARDS)

    def no_proof(refusal: str, name: str, f: dict, shard: int, **more) -> None:
        more = {**at, **more}
        refuse(refusal, "chunk_proof", name, more.pop("known"), f, shard=shard, **more)

    no_proof("shard", "proof of another shard", seven, 2)
    no_proof("shard", "a shard that the layout lacks, another's proof", seven, 3)
    no_proof("shard", "a shard that the layout lacks, header names it", changed(seven, header__shard=3), 3)
    no_proof("proof", "another shard's header under the shard's name", changed(seven, header__shard=2), 2)
    no_proof("proof", "siblings of another shard", {"header": two["header"], "siblings": seven["siblings"]}, 2)
    no_proof("proof", "a sibling too few", changed(seven, siblings=seven["siblings"][:1]), 7)
    no_proof("proof", "a sibling too few for the lone last leaf", changed(last, siblings=[]), 300)
    no_proof("proof", "a sibling too many", changed(seven, siblings=seven["siblings"] + [ZERO.hex()]), 7)
    no_proof("proof", "a sibling too many for the lone last leaf", changed(last, siblings=last["siblings"] * 2), 300)
    no_proof("proof", "ten siblings", changed(seven, siblings=seven["siblings"] * 5), 7)
    no_proof("proof", "no siblings", changed(seven, siblings=[]), 7)
    no_proof("proof", "siblings exchanged", changed(seven, siblings=seven["siblings"][::-1]), 7)
    no_proof("proof", "a bit of a sibling flipped", changed(seven, siblings__0=flip(seven["siblings"][0])), 7)
    no_proof("proof", "a bit of the state after flipped", changed(seven, header__state_after=flip(seven["header"]["state_after"])), 7)
    no_proof("proof", "a header that is no longer the newest", changed(seven, header=chain.newest[4][7]), 7)
    no_proof("proof", "right, but under another ledger info", seven, 7, signed=signed_hex(8))
    reordered = [chain.newest[5][s] for s in (2, 7, 300)]
    other_order = changed(info(5), chunks_root=chunks_root(reordered).hex())
    no_proof("proof", "a tree with the leaves in order of the ids", {"header": seven["header"], "siblings": [
        s.hex() for s in tree_proof("chunks", list(map(chunk_leaf, reordered)), 1)]}, 7, signed=encode_signed_ledger_info(chain.quorum(other_order)).hex())
    early = chain.newest[5]
    no_proof("height", "a header later than the ledger info, rightly proven", {"header": early[7], "siblings": chain.siblings(early, 7)}, 7,
             signed=signed_hex(4, early))

    no_proof("shard", "another shard's header, later than the ledger info and without siblings", {"header": early[7], "siblings": []}, 2, signed=signed_hex(4, early))
    no_proof("height", "a header later than the ledger info, without siblings", {"header": early[7], "siblings": []}, 7, signed=signed_hex(4, early))

    # Chunk ranges.
    def ok_range(name: str, known: list[int], shard: int, above: int, f: dict) -> None:
        accept("chunk_range", name, known, f, shard=shard, trusted=above)

    def no_range(refusal: str, name: str, f: dict, shard: int = 7, above: int = 2, known: list[int] = [0, 1]) -> None:
        refuse(refusal, "chunk_range", name, known, f, shard=shard, trusted=above)

    ok_range("one header", [0, 1], 7, 4, chain.range(7, 4, 5))
    ok_range("from genesis into epoch 1", [0, 1], 7, 0, chain.range(7, 0, 8))
    ok_range("a shard without a chunk at every height", [0, 1], 2, 0, chain.range(2, 0, 5))
    ok_range("the last header is older than the ledger info", [0, 1], 300, 0, chain.range(300, 0, 10))
    ok_range("over two epochs, under an epoch end", [0, 1, 2, 3], 300, 0, chain.range(300, 0, 17))
    ok_range("no headers: the trusted one is the newest, and of that height", [0, 1], 7, 5, chain.range(7, 5, 5))
    ok_range("no headers: the trusted one is the newest, of a lower height", [0, 1], 300, 5, chain.range(300, 5, 10))
    ok_range("no headers: genesis' is the newest", [0, 1], 300, 0, chain.range(300, 0, 4))
    good = chain.range(7, 2, 5)
    ok_range("three headers", [0, 1], 7, 2, good)
    hs = good["headers"]
    no_range("link", "a gap", changed(good, headers=[hs[0], hs[2]]))
    no_range("link", "the first header lacks", changed(good, headers=hs[1:]))
    no_range("link", "only the last header", changed(good, headers=hs[2:]))
    no_range("link", "two headers swapped", changed(good, headers=[hs[1], hs[0], hs[2]]))
    no_range("link", "begins with the trusted header itself", changed(good, headers=[chain.newest[2][7], *hs]))
    no_range("link", "the trusted header alone, which is the newest", changed(good, headers=hs[2:]), above=5)
    no_range("link", "trusted is a later header", good, above=4)
    no_range("link", "trusted is an earlier header", good, above=1)
    no_range("link", "a header in the middle changed", changed(good, headers__1__state_after=flip(hs[1]["state_after"])))
    no_range("proof", "the last header changed", changed(good, headers__2__state_after=flip(hs[2]["state_after"])))
    no_range("proof", "the last header lacks", changed(good, headers=hs[:2]))
    no_range("proof", "a sibling too few", changed(good, siblings=good["siblings"][:1]))
    no_range("proof", "a sibling too many", changed(good, siblings=good["siblings"] + [ZERO.hex()]))
    no_range("proof", "siblings of another shard", changed(good, siblings=chain.siblings(chain.newest[5], 2)))
    no_range("shard", "trusted is a header of another shard", good, shard=2)
    no_range("chain", "under a ledger info of another chain", changed(good, signed=chain.sign(foreign, [0, 1])))
    no_range("epoch", "under a ledger info of an unknown epoch", good, known=[1, 2])
    no_range("quorum", "under a ledger info without quorum", changed(good, signed=chain.sign(info(5), [0, 2, 3])))
    no_range("quorum", "under a ledger info without quorum, unproven, unlinked", changed(good, signed=chain.sign(info(5), [0, 2, 3]), siblings=[], headers=hs[2:]), shard=2)
    no_range("shard", "trusted is a header of another shard, unproven, unlinked", changed(good, siblings=[], headers=hs[2:]), shard=2)
    no_range("proof", "unproven, unlinked", changed(good, siblings=[], headers=hs[2:]))
    no_range("proof", "no headers, but there are newer ones", changed(good, headers=[]))
    no_range("proof", "no headers, siblings of another shard", changed(chain.range(300, 5, 10), siblings=chain.siblings(chain.newest[10], 7)), shard=300, above=5)
    no_range("height", "no headers, trusted is later than the ledger info", changed(good, headers=[]), above=6)
    no_range("quorum", "no headers, under a ledger info without quorum", changed(chain.range(300, 5, 10), signed=chain.sign(info(10), [1, 2, 3])), shard=300, above=5)
    no_range("epoch", "no headers, under a ledger info of an unknown epoch", chain.range(300, 5, 10), shard=300, above=5, known=[2, 3])
    no_range("signature", "under a ledger info with a garbled signature", changed(good, signed__signatures__1__signature=garbage))

    def forged(last_changes: dict, height: int, middle: dict = {}) -> dict:
        """A quorum for what it should never have signed: linked by hashes, proven, but wrong within. Trusted is shard 7 at height 2."""
        first = changed(chain.newest[3][7], **middle)
        end = changed(chain.newest[4][7], previous=object_hash("chunk_header", first).hex(), **last_changes)
        newest = {**chain.newest[4], 7: end}
        return {"signed": chain.quorum(info(height, newest)), "siblings": chain.siblings(newest, 7), "headers": [first, end]}

    other_state = flip(chain.newest[3][7]["state_after"])
    accept("chunk_range", "the chain beside the forgeries", [0, 1], forged({}, 4), shard=7, trusted=2)
    no_range("link", "signed all the same: state before unequal to the previous state after", forged({"state_before": other_state}, 4))
    no_range("link", "signed all the same: first state before unequal to the trusted state after", forged({}, 4, {"state_before": other_state}))
    no_range("link", "signed all the same: a header of another shard amid them", forged({}, 4, {"shard": 2}))
    no_range("link", "signed all the same: two headers of one height", forged({"height": 3}, 4))
    no_range("link", "signed all the same: heights falling", forged({"height": 4}, 5, {"height": 5}))
    no_range("link", "signed all the same: the first header at the trusted height", forged({}, 4, {"height": 2}))
    no_range("height", "signed all the same: the last header later than the ledger info", forged({"height": 5}, 4))

    # Waypoints: `next` is the epoch info that the node brings along.
    waypoints = []
    end, plain = info(6), info(5)
    for name, expected, waypoint, ledger_info, following in [
        ("the end of epoch 0", None, object_hash("ledger_info", end), end, epochs[1]),
        ("the end of epoch 1", None, object_hash("ledger_info", info(12)), info(12), epochs[2]),
        ("another info for the next epoch", "another next epoch info", object_hash("ledger_info", end), end, changed(epochs[1], validators__0__power=7)),
        ("the info that the ledger info holds", "another next epoch info", object_hash("ledger_info", end), end, epochs[2]),
        ("another ledger info", "another ledger info", object_hash("ledger_info", end), changed(end, block_hash=ZERO.hex()), epochs[1]),
        ("a ledger info that ends no epoch", "ends no epoch", object_hash("ledger_info", plain), plain, epochs[1]),
        *[(name, reason, object_hash("ledger_info", changed(end, **changes)), changed(end, **changes), epochs[1]) for name, reason, changes in [
            ("of another chain", "another chain", {"chain_id": flip(end["chain_id"])}),
            ("another epoch's number", "epochs that do not follow", {"epoch": 1}),
            ("another height than the epoch's last", "epochs that do not follow", {"height": 5}),
            ("holds the info of an epoch too late", "epochs that do not follow", {"epoch_end__info__epoch": 3}),
            ("holds an info that begins a height too late", "epochs that do not follow", {"epoch_end__info__first_height": 14}),
            ("holds an info of another layout", "epochs that do not follow", {"epoch_end__info__layout__part_bytes": 65_536})]],
    ]:
        case = {"name": name, "accepted": expected is None, **({} if expected is None else {"reason": expected}), "waypoint": waypoint.hex(),
                "ledger_info": encode_ledger_info(ledger_info).hex(), "next": encode_epoch_info(following).hex()}
        if expected is None:
            # What the waypoint's own ledger info proves.
            height = ledger_info["height"]
            case["proofs"] = [{"shard": s, "encoded": encode_chunk_proof(chain.proof(height, s)).hex(), "state_after": chain.newest[height][s]["state_after"]}
                              for s in SHARDS]
        waypoints.append(case)
        check_waypoint(chain.chain_id, case)

    # Ends of epoch 1 that stand while the info of epoch 2 is not known; the refusal is the one when it is.
    early = []
    for name, refusal, changes in [("right", None, {}), ("another next", "next epoch", {"epoch_end__next": ZERO.hex()}),
                                   ("first height one too high", "next epoch", {"epoch_end__info__first_height": 19})]:
        case = {"name": name, "refusal": refusal, "encoded": encode_signed_ledger_info(chain.quorum(changed(info(12), **changes))).hex()}
        early.append(case)
        check_early(chain.chain_id, epochs, case)

    heights = [{"height": i, "block": encode_block(block).hex(), "hash": object_hash("block", block).hex(),
                "chunks": [encode_chunk_header(x).hex() for x in chain.chunks[i]]} for i, block in enumerate(chain.blocks)]
    return {"genesis": encode_genesis(chain.genesis).hex(), "chain_id": chain.chain_id.hex(),
            "seeds": [{"seed": s.seed.hex(), "key": s.key.hex()} for s in SIGNERS.values() if not s.mixed],
            "epochs": [encode_epoch_info(e).hex() for e in epochs], "heights": heights,
            "advance": [encode_signed_ledger_info(s).hex() for s in advance], "accepted": accepted, "refused": refused, "waypoints": waypoints, "early": early}


# ------------------------------------------------------------------------------------- vectors: objects and malformed
def small_epoch_info() -> dict:
    """Two shards and two validators, for the malformed ones."""
    return {"epoch": 5, "first_height": 100, "length": 10, "layout": {"shards": [4, 1], "boundaries": [b"m".hex()], "part_bytes": 65_536},
            "validators": [{"key": KEYS[0], "power": 3, "peer_id": b"p0".hex(), "addresses": [b"a".hex()], "shards": [1, 4]},
                           {"key": KEYS[1], "power": 2, "peer_id": b"p1".hex(), "addresses": [], "shards": [4]}]}


def small_genesis() -> dict:
    info = small_epoch_info()
    return {"name": "g", "time": 1, "epoch_0": changed(info, epoch=0, first_height=1, validators=info["validators"][:1]),
            "epoch_1": changed(info, epoch=1, first_height=11, validators=info["validators"][1:]), "state_roots": ["11" * 32, "22" * 32]}


def object_vectors(chain: Chain, rng: random.Random) -> list[dict]:
    result = []

    def add(kind: str, name: str, f: dict) -> None:
        encoded = ENCODE[kind](f)
        entry = {"kind": kind, "name": name, "fields": f, "encoded": encoded.hex()}
        if kind in HASHED:
            entry["hash"] = object_hash(kind, f).hex()
        if kind == "ledger_info":
            entry["message"] = signed_message(f).hex()
        if kind == "outputs":
            entry |= {"root": outputs_root(f).hex(), "bytes": outputs_bytes(f)}
        check_object(entry)
        result.append(entry)

    small, seven = small_epoch_info(), chain.newest[3][7]
    add("epoch_info", "epoch 2 of the small chain", chain.epochs[2])
    add("epoch_info", "one shard, one validator that tracks nothing", changed(small, epoch=0, first_height=1, length=1, validators=[
        {"key": KEYS[0], "power": 1, "peer_id": "00", "addresses": [], "shards": []}], layout={"shards": [0], "boundaries": [], "part_bytes": 65_536}))
    add("epoch_info", "the greatest numbers", changed(small, epoch=U64 - 1, first_height=U64 - 1 - 10, layout__part_bytes=67_108_864, layout__shards=[U32 - 1, 0],
                                                     validators__0__shards=[0, U32 - 1], validators__1__shards=[], validators__0__power=U64 - 3))
    add("epoch_info", "first height 1 and the greatest length", changed(small, first_height=1, length=U64 - 2))
    add("epoch_info", "the longest texts", changed(small, layout__boundaries=["ff" * KEY_MAX], validators__0__peer_id="01" * PEER_ID_MAX,
                                                 validators__1__addresses=["02" * ADDRESS_MAX] + ["03"] * 7))
    add("epoch_info", "boundaries where one begins another", changed(small, layout__shards=[1, 2, 3, 4], layout__boundaries=["61", "6100", "6162"]))
    add("epoch_info", "a consensus key with a point of order 8 added", changed(small, validators__0__key=KEYS[6]))

    add("chunk_header", "genesis'", chain.newest[0][7])
    add("chunk_header", "height 3", seven)
    add("chunk_header", "without transactions and outputs", {**genesis_header(300, "33" * 32), "height": 9, "previous": "44" * 32})
    add("chunk_header", "the greatest numbers", changed(seven, shard=U32 - 1, height=U64 - 1, transactions=CHUNK_BYTES_MAX,
                                                        transactions_root="66" * 32, outputs_root="77" * 32,
                                                        transactions_bytes=CHUNK_BYTES_MAX, outputs=11_000_000, outputs_bytes=CHUNK_BYTES_MAX))

    def outputs(*pairs) -> dict:
        return {"outputs": [{"key": k.hex(), "value": None if v is None else v.hex()} for k, v in pairs]}

    add("outputs", "none", outputs())
    add("outputs", "one put", outputs((b"key", b"value")))
    add("outputs", "an empty value is not a deletion", outputs((b"a", b""), (b"b", None)))
    add("outputs", "keys where one begins another", outputs((b"\x00", None), (b"\x00\x00", b"1"), (b"\x00\x01", b"2"), (b"\x7f", b""), (b"\x80", b"3"), (b"\xff", None)))
    add("outputs", "the longest key", outputs((b"\x07" * KEY_MAX, b"x")))
    add("outputs", "thirteen", outputs(*[(b"k%02d" % i, None if i % 5 == 4 else rng.randbytes(i)) for i in range(13)]))

    add("block", "genesis'", chain.blocks[0])
    add("block", "height 7", chain.blocks[7])
    add("block", "the greatest numbers", changed(chain.blocks[7], height=U64 - 1, epoch=U64 - 1, time=U64 - 1))

    add("genesis", "the small chain: shards 7, 2 and 300, four validators", chain.genesis)
    add("genesis", "the longest name", changed(small_genesis(), name="naïve – ☃" + "x" * 50, time=0))
    add("genesis", "two shards, one validator", small_genesis())

    add("ledger_info", "an ordinary one", chain.ledger_info(3))
    add("ledger_info", "the end of epoch 1", chain.ledger_info(12))
    add("ledger_info", "whatever it says: no rule of a single ledger info ties its numbers", changed(chain.ledger_info(12), epoch=U64 - 1, height=0))
    add("signed_ledger_info", "two signatures", chain.sign(chain.ledger_info(3), [0, 1]))
    add("signed_ledger_info", "no signatures", chain.sign(chain.ledger_info(3), []))
    add("signed_ledger_info", "the end of epoch 1", chain.quorum(chain.ledger_info(12)))
    add("chunk_proof", "two siblings", chain.proof(6, 7))
    add("chunk_proof", "no siblings", changed(chain.proof(6, 7), siblings=[]))
    add("chunk_proof", "ten siblings", changed(chain.proof(6, 7), siblings=[bytes([i] * 32).hex() for i in range(10)]))
    add("chunk_range", "no headers", chain.range(300, 5, 10))
    add("chunk_range", "one header", chain.range(7, 4, 5))
    add("chunk_range", "two headers under an epoch end", chain.range(2, 9, 12))
    return result


def malformed_vectors(chain: Chain) -> list[dict]:
    result = []

    def bad(kind: str, name: str, encoded: bytes | dict, reason: str) -> None:
        encoded = encoded if isinstance(encoded, bytes) else ENCODE[kind](encoded)
        try:
            decode(kind, encoded)
        except Malformed as e:
            assert str(e) == reason, f"{kind}, {name}: {e}, not {reason}"
            result.append({"kind": kind, "name": name, "encoded": encoded.hex(), "reason": reason})
            return
        raise AssertionError(f"decodes: {kind}, {name}")

    info, header, genesis = small_epoch_info(), chain.newest[3][7], small_genesis()
    ledger_info, one = chain.ledger_info(3), chain.range(7, 4, 5)
    ending = changed(ledger_info, epoch_end={"next": "55" * 32, "info": info})
    whole = {"epoch_info": info, "chunk_header": header, "outputs": {"outputs": [{"key": "61", "value": "62"}]}, "block": chain.blocks[3],
             "genesis": genesis, "ledger_info": ending, "signed_ledger_info": chain.quorum(ledger_info), "chunk_proof": chain.proof(6, 7), "chunk_range": one}
    for kind, f in whole.items():
        bad(kind, "the last byte missing", ENCODE[kind](f)[:-1], "truncated")

    # Epoch infos.
    def epoch(name: str, reason: str, **changes) -> None:
        bad("epoch_info", name, changed(info, **changes), reason)

    encoded = encode_epoch_info(info)
    head = 24                                                                       # epoch, first height, length
    layout_end = head + len(encode_layout(info["layout"]))

    def at(offset: int, new: bytes, of: bytes = encoded) -> bytes:
        return of[:offset] + new + of[offset + len(new):]

    epoch("length 0", "length zero", length=0)
    epoch("first height 0", "first height zero", first_height=0)
    epoch("first height + length is 2^64", "heights overflow", first_height=U64 - 10)
    epoch("first height + length is far above 2^64", "heights overflow", first_height=U64 - 1, length=U64 - 1)
    epoch("no shards", "too few shards", layout__shards=[], layout__boundaries=[], validators__0__shards=[], validators__1__shards=[])
    bad("epoch_info", "1,001 shards by the count only", at(head, u(32, 1001)), "too many shards")
    bad("epoch_info", "2^32 - 1 shards", at(head, b"\xff" * 4), "too many shards")
    epoch("a shard id twice", "shard ids not distinct", layout__shards=[4, 4], validators__0__shards=[4])
    epoch("a boundary too few", "number of boundaries", layout__boundaries=[])
    epoch("a boundary too many", "number of boundaries", layout__boundaries=["6d", "6e"])
    bad("epoch_info", "2^32 - 1 boundaries", at(head + 12, b"\xff" * 4), "number of boundaries")
    epoch("an empty boundary", "boundary too short", layout__boundaries=[""])
    bad("epoch_info", "a boundary of 2,049 bytes by the length only", at(head + 16, u(32, 2049)), "boundary too long")
    three = {"layout__shards": [4, 1, 9]}
    epoch("equal boundaries", "boundaries not rising", layout__boundaries=["6d", "6d"], **three)
    epoch("boundaries falling", "boundaries not rising", layout__boundaries=["6e", "6d"], **three)
    epoch("a boundary before its own beginning", "boundaries not rising", layout__boundaries=["6d00", "6d"], **three)
    epoch("boundaries in order of signed bytes", "boundaries not rising", layout__boundaries=["80", "7f"], **three)
    epoch("part_bytes 65,535", "part_bytes out of bounds", layout__part_bytes=65_535)
    epoch("part_bytes 67,108,865", "part_bytes out of bounds", layout__part_bytes=67_108_865)
    bad("epoch_info", "the layout's last byte 1", encode_epoch_info(info, last=1), "layout changes")
    bad("epoch_info", "the layout's last byte 255", encode_epoch_info(info, last=255), "layout changes")
    epoch("no validators", "too few validators", validators=[])
    bad("epoch_info", "1,001 validators by the count only", at(layout_end, u(32, 1001)), "too many validators")
    bad("epoch_info", "2^32 - 1 validators by the count only", at(layout_end, b"\xff" * 4), "too many validators")
    bad("epoch_info", "a validator less than counted", at(layout_end, u(32, 3)), "truncated")
    bad("epoch_info", "a validator more than counted", at(layout_end, u(32, 1)), "trailing bytes")
    epoch("a consensus key twice", "consensus keys not distinct", validators__1__key=KEYS[0])
    epoch("a peer id twice", "peer ids not distinct", validators__1__peer_id=b"p0".hex())
    epoch("powers that add up to 2^64", "powers overflow", validators__0__power=U64 - 2)
    epoch("powers that add up to 2^65 - 2", "powers overflow", validators__0__power=U64 - 1, validators__1__power=U64 - 1)
    epoch("power 0", "zero power", validators__1__power=0)
    for name, key in [("small order", ZERO), ("non-canonical", non_canonical_key()), ("no point", no_point())]:
        epoch(f"a consensus key: {name}", "consensus key", validators__0__key=key.hex())
    epoch("an empty peer id", "peer id too short", validators__0__peer_id="")
    epoch("a peer id of 65 bytes", "peer id too long", validators__0__peer_id="01" * 65)
    epoch("nine addresses", "too many addresses", validators__0__addresses=["61"] * 9)
    epoch("an empty address", "address too short", validators__0__addresses=["61", ""])
    epoch("an address of 257 bytes", "address too long", validators__0__addresses=["61" * 257])
    epoch("tracked shards unsorted", "tracked shards not rising", validators__0__shards=[4, 1])
    epoch("a tracked shard twice", "tracked shards not rising", validators__0__shards=[4, 4])
    epoch("a tracked shard that the layout lacks", "tracked shard not in the layout", validators__1__shards=[3])
    epoch("more tracked shards than shards", "tracked shard not in the layout", validators__0__shards=[1, 2, 4])
    bad("epoch_info", "1,001 tracked shards by the count only", at(len(encoded) - 8, u(32, 1001)), "too many tracked shards")

    # Chunk headers.
    def chunk(name: str, reason: str, f: dict = header, **changes) -> None:
        bad("chunk_header", name, changed(f, **changes), reason)

    chunk("bytes of transactions above the limit", "too many bytes of transactions", transactions_bytes=CHUNK_BYTES_MAX + 1)
    chunk("bytes of transactions 2^64 - 1", "too many bytes of transactions", transactions_bytes=U64 - 1)
    chunk("bytes of outputs above the limit", "too many bytes of outputs", outputs_bytes=CHUNK_BYTES_MAX + 1)
    chunk("transactions above the limit", "too many transactions", transactions=CHUNK_BYTES_MAX + 1, transactions_bytes=CHUNK_BYTES_MAX)
    chunk("outputs above the limit", "too many outputs", outputs=CHUNK_BYTES_MAX + 1, outputs_bytes=CHUNK_BYTES_MAX)
    chunk("2^32 - 1 transactions", "too many transactions", transactions=U32 - 1, transactions_bytes=CHUNK_BYTES_MAX)
    first, shape = genesis_header(7, "33" * 32), "height 0, but not genesis' header"
    chunk("height 0 with a previous header", shape, first, previous="44" * 32)
    chunk("height 0 that changes the state", shape, first, state_after="44" * 32)
    chunk("height 0 with another transactions root", shape, first, transactions_root="44" * 32)
    chunk("height 0 with the root of no outputs for the one of no transactions", shape, first, transactions_root=first["outputs_root"])
    chunk("height 0 with another outputs root", shape, first, outputs_root=ZERO.hex())
    chunk("height 0 with a transaction", shape, first, transactions=1, transactions_bytes=1)
    chunk("height 0 with bytes of transactions", shape, first, transactions_bytes=1)
    chunk("height 0 with an output", shape, first, outputs=1, outputs_bytes=6)
    chunk("height 0 with bytes of outputs", shape, first, outputs_bytes=1)
    chunk("height 0, all else of height 3", shape, header, height=0)
    bare = {**genesis_header(300, "33" * 32), "height": 9, "previous": "44" * 32}
    for what in ("transactions", "outputs"):
        one_item = {what: 1, what + "_bytes": 6, what + "_root": "66" * 32}
        for missing in one_item:
            partly = f"{what} empty in part"
            chunk(f"{what}: nothing but {missing}", partly, bare, **{missing: one_item[missing]})
            chunk(f"{what}: all but {missing}", partly, {**bare, **one_item}, **{missing: bare[missing]})

    # Blocks.
    for name, height, changes in [("height 0 with a previous block", 0, {"previous": "44" * 32}), ("height 0 in epoch 1", 0, {"epoch": 1}), ("height 0, all else of height 7", 7, {"height": 0})]:
        bad("block", name, changed(chain.blocks[height], **changes), "height 0, but not genesis' block")

    # Outputs.
    def outputs(name: str, reason: str, *pairs: tuple[bytes, bytes | None]) -> None:
        bad("outputs", name, {"outputs": [{"key": k.hex(), "value": None if v is None else v.hex()} for k, v in pairs]}, reason)

    outputs("keys unsorted", "keys not rising", (b"b", b"1"), (b"a", b"2"))
    outputs("a key twice", "keys not rising", (b"a", b"1"), (b"a", b"2"))
    outputs("a key twice, put and deleted", "keys not rising", (b"a", b"1"), (b"a", None))
    outputs("a key before its own beginning", "keys not rising", (b"ab", b"1"), (b"a", None))
    outputs("keys in order of length", "keys not rising", (b"b", b"1"), (b"aa", b"2"))
    outputs("keys in order of signed bytes", "keys not rising", (b"\x80", b"1"), (b"\x7f", b"2"))
    outputs("an empty key", "key too short", (b"", b"1"))
    bad("outputs", "a key of 2,049 bytes by the length only", u(32, 1) + u(32, 2049) + b"k", "key too long")
    bad("outputs", "a key of 2^32 - 1 bytes by the length only", u(32, 1) + b"\xff" * 4 + b"k", "key too long")
    bad("outputs", "a value of 4,194,305 bytes by the length only", u(32, 1) + var(b"k") + b"\1" + u(32, VALUE_MAX + 1) + b"v", "value too long")
    bad("outputs", "a value of 2^32 - 1 bytes by the length only", u(32, 1) + var(b"k") + b"\1" + b"\xff" * 4 + b"v", "value too long")
    bad("outputs", "a value shorter than its length", u(32, 1) + var(b"k") + b"\1" + u(32, 2) + b"v", "truncated")
    bad("outputs", "tag 2 for the value", u(32, 1) + var(b"k") + b"\2" + var(b"v"), "unknown tag")
    bad("outputs", "tag 255 for no value", u(32, 1) + var(b"k") + b"\xff", "unknown tag")
    bad("outputs", "67,108,865 outputs by the count only", u(32, CHUNK_BYTES_MAX + 1), "too many outputs")
    bad("outputs", "2^32 - 1 outputs by the count only", b"\xff" * 4 + encode_output({"key": "61", "value": None}), "too many outputs")
    bad("outputs", "an output less than counted", u(32, 2) + var(b"k") + b"\0", "truncated")
    bad("outputs", "an output more than counted", u(32, 1) + var(b"k") + b"\0" + var(b"l") + b"\0", "trailing bytes")

    # Geneses.
    def gen(case: str, reason: str, /, **changes) -> None:
        bad("genesis", case, changed(genesis, **changes), reason)

    rest = encode_genesis(genesis)[5:]
    gen("an empty name", "name too short", name="")
    gen("a name of 65 bytes", "name too long", name="x" * 65)
    gen("a name of 64 characters in 65 bytes", "name too long", name="x" * 63 + "é")
    for name, text in [("a lone byte 0xff", b"\xff"), ("an overlong form", b"\xc0\xaf"), ("a surrogate", b"\xed\xa0\x80"), ("cut within a character", b"\xe2\x98")]:
        bad("genesis", f"a name that is not UTF-8: {name}", var(text) + rest, "name not UTF-8")
    gen("epochs 0 and 2", "epochs are not 0 and 1", epoch_1__epoch=2)
    gen("epochs 1 and 2", "epochs are not 0 and 1", epoch_0__epoch=1, epoch_1__epoch=2)
    gen("epochs exchanged", "epochs are not 0 and 1", epoch_0=genesis["epoch_1"], epoch_1=genesis["epoch_0"])
    gen("epoch 0 begins at height 2", "epoch 0 does not begin at height 1", epoch_0__first_height=2, epoch_1__first_height=12)
    gen("epoch 1 begins a height too late", "epoch 1 does not follow epoch 0", epoch_1__first_height=12)
    gen("epoch 1 begins at epoch 0's last height", "epoch 1 does not follow epoch 0", epoch_1__first_height=10)
    gen("epoch 1 begins at height 1", "epoch 1 does not follow epoch 0", epoch_1__first_height=1)
    gen("epoch 1 with other part_bytes", "layouts differ", epoch_1__layout__part_bytes=65_537)
    gen("epoch 1 with another boundary", "layouts differ", epoch_1__layout__boundaries=["6e"])
    gen("epoch 1 with the shards in another order", "layouts differ", epoch_1__layout__shards=[1, 4])
    gen("a state root too few", "number of state roots", state_roots=["11" * 32])
    gen("a state root too many", "number of state roots", state_roots=["11" * 32, "22" * 32, "33" * 32])
    gen("no state roots", "number of state roots", state_roots=[])
    gen("zero power in epoch 1", "zero power", epoch_1__validators__0__power=0)

    # Ledger infos and what holds them.
    plain = encode_ledger_info(ledger_info)
    bad("ledger_info", "tag 2 for no epoch end", plain[:-1] + b"\2", "unknown tag")
    bad("ledger_info", "tag 2 for an epoch end", at(len(plain) - 1, b"\2", encode_ledger_info(ending)), "unknown tag")
    bad("ledger_info", "no epoch end, but its bytes", at(len(plain) - 1, b"\0", encode_ledger_info(ending)), "trailing bytes")
    bad("ledger_info", "tag 1 without an epoch end", plain[:-1] + b"\1", "truncated")
    bad("ledger_info", "an epoch end with zero power", changed(ending, epoch_end__info__validators__0__power=0), "zero power")
    bad("ledger_info", "an epoch end with a small-order key", changed(ending, epoch_end__info__validators__0__key=ZERO.hex()), "consensus key")
    bad("ledger_info", "an epoch end of length 0", changed(ending, epoch_end__info__length=0), "length zero")
    bad("signed_ledger_info", "1,001 signatures by the count only", plain + u(32, 1001), "too many signatures")
    bad("signed_ledger_info", "2^32 - 1 signatures by the count only", plain + b"\xff" * 4, "too many signatures")
    bad("signed_ledger_info", "a signature less than counted", at(len(plain), u(32, 3), encode_signed_ledger_info(whole["signed_ledger_info"])), "truncated")
    bad("signed_ledger_info", "a signature more than counted", at(len(plain), u(32, 1), encode_signed_ledger_info(whole["signed_ledger_info"])), "trailing bytes")
    bad("signed_ledger_info", "without the count of signatures", plain, "truncated")
    proof = whole["chunk_proof"]
    bad("chunk_proof", "eleven siblings", changed(proof, siblings=[ZERO.hex()] * 11), "too many siblings")
    bad("chunk_proof", "2^32 - 1 siblings by the count only", encode_chunk_header(proof["header"]) + b"\xff" * 4, "too many siblings")
    bad("chunk_proof", "a header of height 0 with a previous header",
        changed(chain.proof(1, 300), header__previous="44" * 32), shape)
    bad("chunk_proof", "bytes of transactions above the limit", changed(proof, header__transactions_bytes=CHUNK_BYTES_MAX + 1), "too many bytes of transactions")
    before_headers = encode_signed_ledger_info(one["signed"]) + items([h(s) for s in one["siblings"]])
    bad("chunk_range", "4,097 headers by the count only", before_headers + u(32, 4097) + encode_chunk_header(header), "too many headers")
    bad("chunk_range", "2^32 - 1 headers by the count only", before_headers + b"\xff" * 4, "too many headers")
    bad("chunk_range", "eleven siblings", changed(one, siblings=[ZERO.hex()] * 11), "too many siblings")
    bad("chunk_range", "2^32 - 1 siblings by the count only", encode_signed_ledger_info(one["signed"]) + b"\xff" * 4, "too many siblings")
    bad("chunk_range", "a header less than counted", before_headers + u(32, 2) + encode_chunk_header(header), "truncated")
    bad("chunk_range", "a header of height 0 with a previous header", changed(one, headers__0__height=0), shape)
    return result


def transactions_vectors(rng: random.Random) -> list[dict]:
    lists = [("none", []), ("one", [b"t"]), ("two equal ones", [b"same", b"same"]), ("seven", [rng.randbytes(1 + 5 * i) for i in range(7)])]
    return [{"name": name, "transactions": [t.hex() for t in ts], "bytes": sum(map(len, ts)), "root": tree_root("transactions", ts).hex()} for name, ts in lists]


def large_vectors() -> list[dict]:
    """Too large to be written out. Trees: of a single item, an output of key 0x6b or a transaction, with that many zero bytes."""
    output = {"outputs": [{"key": "6b", "value": bytes(VALUE_MAX).hex()}]}
    return [{"tree": "outputs", "zeros": VALUE_MAX, "bytes": outputs_bytes(output), "root": outputs_root(output).hex()},
            {"tree": "transactions", "zeros": TRANSACTION_MAX, "bytes": TRANSACTION_MAX, "root": tree_root("transactions", [bytes(TRANSACTION_MAX)]).hex()}]


def wide_vectors() -> list[dict]:
    """Epoch infos at the limits and one above, too long to be written out. With n shards and m validators: epoch 0, first height 1, length 1; shard
    ids n, n - 1 ... 1; boundary i (from 0) is the two bytes of 1000 + i, big-endian, and zeros up to the given length; part_bytes 65,536; validator i (from 0) has the RFC 8032 public
    key of the seed u32(i) ‖ 28 zero bytes, power 1, peer id u32(i), no addresses and no tracked shards."""
    result = []
    for shards, validators, boundary in [(1000, 1, 2), (1001, 1, 2), (1, 1000, 2), (1, 1001, 2), (1000, 967, 2037), (1000, 968, 2037)]:
        members = []
        for i in range(validators):
            members.append({"key": public_key(u(256, i)).hex(), "power": 1, "peer_id": u(32, i).hex(), "addresses": [], "shards": []})
        f = {"epoch": 0, "first_height": 1, "length": 1, "validators": members, "layout": {
            "shards": [shards - i for i in range(shards)], "boundaries": [((1000 + i).to_bytes(2, "big") + bytes(boundary - 2)).hex() for i in range(shards - 1)], "part_bytes": 65_536}}
        encoded = encode_epoch_info(f)
        try:
            decodes = decode("epoch_info", encoded) == f
        except Malformed:
            decodes = False
        assert decodes == (shards <= SHARDS_MAX and validators <= VALIDATORS_MAX and len(encoded) <= EPOCH_INFO_MAX)
        assert (len(encoded) == EPOCH_INFO_MAX) == (validators == 967)
        result.append({"shards": shards, "validators": validators, "boundary_bytes": boundary, "decodes": decodes, "bytes": len(encoded), "hash": keyed("epoch-info", encoded).hex()})
    return result


# --------------------------------------------------------------------------------------------------------------- check
def check_object(entry: dict) -> None:
    kind, f, encoded = entry["kind"], entry["fields"], h(entry["encoded"])
    where = f"{kind}, {entry['name']}"
    assert decode(kind, encoded) == f, where
    assert ENCODE[kind](f) == encoded, where
    assert ("hash" in entry) == (kind in HASHED), where
    if "hash" in entry:
        assert keyed(HASHED[kind], encoded) == h(entry["hash"]), where
    if kind == "ledger_info":
        assert h(entry["message"]) == plain_hash(b"ketch.v1.ledger-info.signed") + encoded[:32] + h(entry["hash"]), where
    if kind == "outputs":
        assert (h(entry["root"]), entry["bytes"]) == (outputs_root(f), len(encoded) - 4), where


def check_no_other_length(entry: dict) -> None:
    """No beginning of an encoding decodes, nor does it with anything behind it."""
    kind, encoded = entry["kind"], h(entry["encoded"])
    ends = range(len(encoded)) if len(encoded) < 3000 else range(0, len(encoded), 997)
    for data in [encoded[:n] for n in ends] + [encoded + b"\0"]:
        try:
            decode(kind, data)
        except Malformed:
            continue
        raise AssertionError(f"decodes at {len(data)} bytes: {kind}, {entry['name']}")


def check_waypoint(chain_id: bytes, case: dict) -> None:
    info, following = decode("ledger_info", h(case["ledger_info"])), decode("epoch_info", h(case["next"]))
    try:
        verify_waypoint(chain_id, h(case["waypoint"]), info, following)
        assert case["accepted"], case["name"]
        for entry in case["proofs"]:
            proof = decode("chunk_proof", h(entry["encoded"]))
            # The epoch that ends has the layout of the one that begins.
            verify_chunk_proof({info["epoch"]: following}, info, entry["shard"], proof["header"], proof["siblings"])
            assert proof["header"]["state_after"] == entry["state_after"]
    except Refused as e:
        assert not case["accepted"] and str(e) == case["reason"], case["name"]


def check_early(chain_id: bytes, epochs: list[dict], case: dict) -> None:
    """The end of epoch 1, verified before the info of epoch 2 was known and once more after."""
    signed = decode("signed_ledger_info", h(case["encoded"]))
    verify_signed(chain_id, dict(enumerate(epochs[:2])), signed)
    try:
        verify_signed(chain_id, dict(enumerate(epochs[:3])), signed)
        assert case["refusal"] is None, case["name"]
    except Refused as e:
        assert str(e) == case["refusal"], case["name"]


def check_ed25519() -> None:
    """RFC 8032, section 7.1, tests 1 to 3."""
    for seed, key, message, signature in [
        ("9d61b19deffd5a60ba844af492ec2cc44449c5697b326919703bac031cae7f60", "d75a980182b10ab7d54bfed3c964073a0ee172f3daa62325af021a68f707511a", "",
         "e5564300c360ac729086e2cc806e828a84877f1eb8e5d974d873e065224901555fb8821590a33bacc61e39701cf9b46bd25bf5f0595bbe24655141438e7a100b"),
        ("4ccd089b28ff96da9db6c346ec114e0f5b8a319f35aba624da8cf6ed4fb8a6fb", "3d4017c3e843895a92b70aa74d1b7ebc9c982ccf2ec4968cc0cd55f12af4660c", "72",
         "92a009a9f0d4cab8720e820b5f642540a2b27b5416503f8fb3762223ebdb69da085ac1e43e15996e458f3613d0f11d8c387b2eaeb4302aeeb00d291612bb0c00"),
        ("c5aa8df43f9f837bedb7442f31dcb7b166d38535076f094b85ce3a2e0b4458f7", "fc51cd8e6218a1a38da47ed00230f0580816ed13ba3303ac5deb911548908025", "af82",
         "6291d657deec24024827e69c3abe01a30ce548a284743a445e3680d7db5ac3ac18ff9b538d16f290ae67f760984dc6594a7c15e9716ed28dc027beceea1ec40a"),
    ]:
        signer = Signer("")
        signer.secret, signer.prefix = secret_of(h(seed))
        signer.key = public_key(h(seed))
        assert signer.key == h(key) and signer.sign(h(message)) == h(signature) and verify_signature(h(key), h(message), h(signature))


def check_ledger(v: dict) -> None:
    genesis = decode("genesis", h(v["genesis"]))
    chain_id = keyed("genesis", h(v["genesis"]))
    assert chain_id == h(v["chain_id"])
    epochs = [decode("epoch_info", h(e)) for e in v["epochs"]]
    assert epochs[:2] == [genesis["epoch_0"], genesis["epoch_1"]]
    for entry in v["seeds"]:
        assert public_key(h(entry["seed"])) == h(entry["key"])

    shards = genesis["epoch_0"]["layout"]["shards"]
    newest = {s: genesis_header(s, r) for s, r in zip(shards, genesis["state_roots"])}
    previous, by_height = ZERO, []
    for height, row in enumerate(v["heights"]):
        block, made = decode("block", h(row["block"])), [decode("chunk_header", h(x)) for x in row["chunks"]]
        if height == 0:
            assert made == [newest[s] for s in shards]
            assert (block["epoch"], block["time"]) == (0, genesis["time"])
        else:
            info = epochs[block["epoch"]]
            assert info["first_height"] <= height <= last_height(info)
            for header in made:
                before = newest[header["shard"]]
                assert header["height"] == height and h(header["previous"]) == object_hash("chunk_header", before)
                assert header["state_before"] == before["state_after"]
                newest[header["shard"]] = header
        by_height.append(dict(newest))
        assert row["height"] == block["height"] == height and h(block["previous"]) == previous
        assert h(block["chunks_root"]) == chunks_root([newest[s] for s in shards])
        previous = object_hash("block", block)
        assert previous == h(row["hash"])

    known = {0: epochs[0], 1: epochs[1]}
    for text in v["advance"]:
        signed = decode("signed_ledger_info", h(text))
        verify_signed(chain_id, known, signed)
        info = signed["ledger_info"]["epoch_end"]["info"]
        known[info["epoch"]] = info
    assert known == dict(enumerate(epochs))

    for case in v["accepted"]:
        for key, value in verify_case(chain_id, epochs, by_height, case).items():
            assert case[key] == value, case["name"]
    for case in v["refused"]:
        try:
            verify_case(chain_id, epochs, by_height, case)
        except Refused as e:
            assert str(e) == case["refusal"], case["name"]
            continue
        raise AssertionError(f"accepted: {case['name']}")
    for case in v["waypoints"]:
        check_waypoint(chain_id, case)
    for case in v["early"]:
        check_early(chain_id, epochs, case)


def check(v: dict) -> None:
    check_ed25519()
    assert v["domains"] == {f"ketch.v1.{label}": K[label].hex() for label in LABELS}
    for entry in v["consensus_keys"]:
        assert good_key(h(entry["key"])) == entry["valid"], entry["name"]
    for entry in v["signatures"]:
        message = signed_message(decode("ledger_info", h(entry["ledger_info"])))
        assert verify_signature(h(entry["key"]), message, h(entry["signature"])) == entry["valid"], entry["name"]
    for t in v["trees"]:
        xs = list(map(h, t["items"]))
        assert len(xs) == t["n"] and tree_root(t["tree"], xs) == h(t["root"])
        assert len(t.get("proofs", [])) == (t["n"] if t["tree"] == "chunks" else 0)
        for i, proof in enumerate(t.get("proofs", [])):
            header = genesis_header(int.from_bytes(xs[i][:4], "little"), t["state_roots"][i])
            assert xs[i] == chunk_leaf(header) and tree_verify(t["tree"], h(t["root"]), t["n"], i, xs[i], list(map(h, proof)))
    for t in v["refused_proofs"]:
        header = genesis_header(int.from_bytes(h(t["item"])[:4], "little"), t["state_root"])
        assert h(t["item"]) == chunk_leaf(header), t["name"]
        assert not tree_verify(t["tree"], h(t["root"]), t["n"], t["index"], h(t["item"]), list(map(h, t["siblings"]))), t["name"]
    for entry in v["transactions"]:
        ts = list(map(h, entry["transactions"]))
        assert (tree_root("transactions", ts), sum(map(len, ts))) == (h(entry["root"]), entry["bytes"])
    assert v["large"] == large_vectors() and v["wide"] == wide_vectors()
    for entry in v["objects"]:
        check_object(entry)
        check_no_other_length(entry)
    for entry in v["malformed"]:
        try:
            decode(entry["kind"], h(entry["encoded"]))
        except Malformed as e:
            assert str(e) == entry["reason"], entry["name"]
            continue
        raise AssertionError(f"decodes: {entry['kind']}, {entry['name']}")
    check_ledger(v["ledger"])


# ----------------------------------------------------------------------------------------------------------------- run
def vectors() -> dict:
    rng = random.Random(20261121)
    chain = Chain(rng)
    trees, refused_proofs = tree_vectors(rng)
    return {"domains": {f"ketch.v1.{label}": K[label].hex() for label in LABELS}, "consensus_keys": key_vectors(), "signatures": signature_vectors(),
            "trees": trees, "refused_proofs": refused_proofs, "transactions": transactions_vectors(rng), "large": large_vectors(),
            "wide": wide_vectors(),
            "objects": object_vectors(chain, rng), "malformed": malformed_vectors(chain), "ledger": ledger_vectors(chain)}


def lines(value: object, deep: bool) -> str:
    """JSON with one item of a list a line."""
    def compact(x: object) -> str:
        return json.dumps(x, ensure_ascii=False, separators=(",", ":"))

    if deep and isinstance(value, dict):
        return "{\n" + ",\n".join(f"{compact(k)}: {lines(x, k == 'ledger')}" for k, x in value.items()) + "\n}"
    if isinstance(value, dict) and len(value) > 8:
        return "{\n " + ",\n ".join(f"{compact(k)}: {compact(x)}" for k, x in value.items()) + "\n}"
    if isinstance(value, list) and value:
        return "[\n " + ",\n ".join(map(compact, value)) + "\n]"
    return compact(value)


def main() -> None:
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    commands = p.add_subparsers(dest="command", required=True)
    commands.add_parser("vectors").add_argument("--to", required=True)
    commands.add_parser("check").add_argument("file")
    a = p.parse_args()
    if a.command == "vectors":
        with open(a.to, "w", encoding="utf-8") as f:
            f.write(lines(vectors(), True) + "\n")
        return
    with open(a.file, encoding="utf-8") as f:
        v = json.load(f)
    check(v)
    counts = {name: len(x) for name, x in v.items() if name != "ledger"}
    counts |= {f"ledger.{name}": len(v["ledger"][name]) for name in ("accepted", "refused", "waypoints", "early")}
    print(json.dumps(counts))


if __name__ == "__main__":
    main()
