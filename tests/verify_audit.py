#!/usr/bin/env python3
"""Check an exported bundle of the audit log, as docs/audit-format.md describes it.

    verify_audit.py BUNDLE --key KEY_TEXT_OR_FILE [--since OLDER_CHECKPOINT_FILE]

One line of output. Exit status: 0 when all holds, 1 when something does not,
2 when a file cannot be read or the arguments are wrong.
"""
import argparse, base64, collections, contextlib, hashlib, json, os, re, sys

Key = collections.namedtuple("Key", "name mark raw point")
Note = collections.namedtuple("Note", "origin size root text signatures")
SMALL = 1 << 20    # the most bytes of a file that is read whole
LONGEST = 1 << 26  # the most bytes of a line
TEXTS = ("format", "kind", "origin", "key", "events_sha256", "exported_at")

class Problem(Exception):
    """What does not hold, and where."""

@contextlib.contextmanager
def at(place):
    """Whatever does not hold in here, does not hold at this place."""
    try:
        yield
    except RecursionError:
        raise Problem(f"{place}: nested too deeply") from None
    except ValueError as error:
        raise Problem(f"{place}: {error}") from None

def need(holds, problem):
    if not holds:
        raise ValueError(problem)

# Ed25519: RFC 8032, section 5.1

P = 2**255 - 19
L = 2**252 + 27742317777372353535851937790883648493
D = -121665 * pow(121666, P - 2, P) % P

def add(a, b):
    """The sum of two points in extended coordinates: section 5.1.4."""
    m, n = (a[1] - a[0]) * (b[1] - b[0]) % P, (a[1] + a[0]) * (b[1] + b[0]) % P
    c, d = 2 * a[3] * b[3] * D % P, 2 * a[2] * b[2] % P
    e, f, g, h = n - m, d - c, d + c, n + m
    return e * f % P, g * h % P, f * g % P, e * h % P

def multiply(scalar, point):
    total = (0, 1, 1, 0)
    while scalar:
        if scalar & 1:
            total = add(total, point)
        point, scalar = add(point, point), scalar >> 1
    return total

def encode(point):
    """Section 5.1.2."""
    inverse = pow(point[2], P - 2, P)
    x, y = point[0] * inverse % P, point[1] * inverse % P
    return (y | (x & 1) << 255).to_bytes(32, "little")

def decode(data):
    """Section 5.1.3: refuses what is no point, and what encode() would not give."""
    number = int.from_bytes(data, "little")
    sign, y = number >> 255, number & (1 << 255) - 1
    square = (y * y - 1) * pow(D * y * y + 1, P - 2, P) % P
    x = pow(square, (P + 3) // 8, P)
    if (x * x - square) % P:
        x = x * pow(2, (P - 1) // 4, P) % P
    need(y < P and (x * x - square) % P == 0 and (x or not sign), "not a canonical point")
    x = x if x & 1 == sign else P - x
    return x, y, 1, x * y % P

BASE = decode((4 * pow(5, P - 2, P) % P).to_bytes(32, "little"))

def signed(key, message, signature):
    """Section 5.1.7: is sB - kA encoded as R? With that, R is canonical too."""
    s = int.from_bytes(signature[32:], "little")
    if len(signature) != 64 or s >= L:
        return False
    k = hashlib.sha512(signature[:32] + key.raw + message).digest()
    x, y, z, t = multiply(int.from_bytes(k, "little") % L, key.point)
    return encode(add(multiply(s, BASE), (P - x, y, z, P - t))) == signature[:32]

# The tree: RFC 6962, section 2.1

def leaf(data):
    return hashlib.sha256(b"\0" + data).digest()

def node(left, right):
    return hashlib.sha256(b"\1" + left + right).digest()

def append(frontier, size, root):
    """Put a leaf behind `size` others, of whose full subtrees the roots are given."""
    while size & 1:
        root, size = node(frontier.pop(), root), size >> 1
    frontier.append(root)

def root_of(frontier):
    """RFC 6962, section 2.1: the root over full subtrees, largest first."""
    if not frontier:
        return hashlib.sha256().digest()
    root = frontier[-1]
    for left in frontier[-2::-1]:
        root = node(left, root)
    return root

def included(data, proof, note):
    """RFC 9162, section 2.1.3.2."""
    index, path = proof
    need(index < note.size, "the index is beyond the checkpoint")
    root, last = leaf(data), note.size - 1
    for other in path:
        need(last, "the proof is too long")
        if index & 1 or index == last:
            root = node(other, root)
            while index and not index & 1:
                index, last = index >> 1, last >> 1
        else:
            root = node(root, other)
        index, last = index >> 1, last >> 1
    need(last == 0 and root == note.root, "the proof does not hold")

# Texts: these functions raise ValueError for wrong ones, whatever they are

def from_base64(text):
    data = base64.b64decode(text, validate=True)
    need(base64.b64encode(data).decode() == text, "not canonical base64")
    return data

def from_hex(text, length=32):
    data = bytes.fromhex(text) if isinstance(text, str) else b""
    need(len(data) == length and data.hex() == text, f"not {length} bytes in lower-case hex")
    return data

def without_doubles(pairs):
    need(len(dict(pairs)) == len(pairs), "a JSON object has a key twice")
    return dict(pairs)

JSON = json.JSONDecoder(object_pairs_hook=without_doubles)

def object_of(data):
    value = JSON.decode(data.decode("utf-8"))
    need(isinstance(value, dict), "not a JSON object")
    return value

def list_of(value):
    return value if isinstance(value, list) else []

def key_of(text):
    """NAME+HASH+KEY. A point of small order is no key."""
    need(text.count("+") >= 2, "not a public key")
    name, mark, body = text.split("+", 2)
    data = from_base64(body)
    digest = hashlib.sha256(name.encode() + b"\n" + data).digest()[:4]
    need(len(data) == 33 and data[0] == 1 and name.split() == [name], "not a public key")
    need(digest.hex() == mark, "the hash of the public key is another")
    point = decode(data[1:])
    need(encode(multiply(8, point)) != encode((0, 1, 1, 0)), "a weak public key")
    return Key(name, digest, data[1:], point)

def note_of(data):
    """The parts of a checkpoint; the signatures are not yet checked."""
    line = "[^\\x00-\\x1f]+\n"
    form = f"{line}(0|[1-9][0-9]{{0,18}})\n[^ \n]{{44}}\n\n(\u2014 [^ \n]+ [^ \n]+\n)+"
    text = data.decode("utf-8")
    need(re.fullmatch(form, text), "not a checkpoint")
    head, tail = text.split("\n\n")
    origin, size, root = head.split("\n")
    parts = [line.split(" ") for line in tail[:-1].split("\n")]
    signatures = [(name, from_base64(signature)) for _, name, signature in parts]
    root = from_base64(root)
    need(len(root) == 32, "the root has not 32 bytes")
    return Note(origin, int(size), root, head.encode() + b"\n", signatures)

def checkpoint_of(data, key):
    note = note_of(data)
    ours = [s[4:] for name, s in note.signatures if name == key.name and s[:4] == key.mark]
    need(ours, "not signed by the key")
    need(any(signed(key, note.text, s) for s in ours), "the signature does not hold")
    return note

def proof_of(data):
    proof = object_of(data)
    need(set(proof) == {"index", "hashes"}, "not a proof")
    index, hashes = proof["index"], proof["hashes"]
    need(type(index) is int and index >= 0 and isinstance(hashes, list), "not a proof")
    return index, [from_hex(text) for text in hashes]

# Files

def read(path):
    with open(path, "rb") as file:
        data = file.read(SMALL + 1)
    need(len(data) <= SMALL, "too large")
    return data

def lines_of(path):
    """The lines without their line feeds, one at a time."""
    with open(path, "rb") as file:
        while line := file.readline(LONGEST):
            need(line.endswith(b"\n"), "a line is too long or has no line feed")
            yield line[:-1]

# What a verifier checks, by the numbers of the page

def manifest_of(data):
    """1: the form of the manifest."""
    manifest = object_of(data)
    for name in TEXTS:
        need(isinstance(manifest.get(name), str), f"{name} is not a text")
    for name in ("size", "first", "count"):
        need(type(manifest.get(name)) is int and manifest[name] >= 0, f"{name} is not a count")
    for name in ("subject", "exported_by"):
        need(name in manifest, f"{name} is missing")
    need(manifest["format"] == "panorama-audit-bundle/1", "the format is another")
    need(manifest["kind"] in ("whole", "selection"), "the kind is not known")
    whole, first, subject = manifest["kind"] == "whole", manifest["first"], manifest["subject"]
    need(first <= (manifest["size"] if whole else 0), "first is too large")
    need(subject is None or isinstance(subject, list), "subject is not a list")
    need(not whole or isinstance(manifest.get("frontier"), list), "frontier is not a list")
    for alias in subject or []:
        from_hex(alias, 16)
    from_hex(manifest["events_sha256"])
    manifest["frontier"] = [from_hex(text) for text in list_of(manifest.get("frontier"))]
    need(len(manifest["frontier"]) == bin(first).count("1"), "frontier does not fit first")
    return manifest

def check_file(path, manifest):
    """3: is the file the one that the manifest speaks of?"""
    count, digest = 0, hashlib.sha256()
    for line in lines_of(path):
        digest.update(line + b"\n")
        count += 1
    need(count == manifest["count"], f"{count} lines, not {manifest['count']}")
    need(digest.hexdigest() == manifest["events_sha256"], "its digest is not the manifest's")

def check_whole(path, frontier, first, note, older_size):
    """4: the tree over the events. Gives their number and the root over `older_size`."""
    size, older_root = first, root_of(frontier) if first == older_size else None
    for line in lines_of(path):
        need(size < note.size, f"more events than the {note.size} of the checkpoint")
        append(frontier, size, leaf(line))
        size += 1
        if size == older_size:
            older_root = root_of(frontier)
    need(size == note.size, f"ends after {size} of {note.size} events")
    need(root_of(frontier) == note.root, "the root is not the checkpoint's")
    return size - first, older_root

def check_selection(events, proofs, manifest, note):
    """4: each event with its proof. Gives their number."""
    with at("proofs.ndjson"):
        count = sum(1 for _ in lines_of(proofs))
        need(count == manifest["count"], f"{count} lines, not {manifest['count']}")
    number, before = 0, note.size
    for number, (event, proof) in enumerate(zip(lines_of(events), lines_of(proofs)), 1):
        with at(f"proofs.ndjson line {number}"):
            proof = proof_of(proof)
            need(proof[0] < before, "it does not come before the one in front of it")
            before = proof[0]
            included(event, proof, note)
        with at(f"events.ndjson line {number}"):
            need(manifest["subject"] is None or names(event, manifest["subject"]),
                 "the subject is not named")
    return number

def names(event, aliases):
    """4: does one of the event's sights name one of the aliases?"""
    sights = [s for s in list_of(object_of(event).get("sights")) if isinstance(s, dict)]
    return any(alias in list_of(sight.get("subjects")) for sight in sights for alias in aliases)

def size_claimed(data):
    """The size of the older checkpoint, so that the root over it is kept in passing."""
    try:
        return note_of(data).size if data else None
    except ValueError:
        return None

def verify(bundle, key, since):
    path = lambda name: os.path.join(bundle, name)
    with at("manifest.json"):
        manifest = manifest_of(read(path("manifest.json")))
    with at("checkpoint"):
        data = read(path("checkpoint"))
        note = checkpoint_of(data, key)
        need(note.origin == manifest["origin"], "the origin is not the manifest's")
        need(note.origin.startswith(key.name + "/"), "the origin is not under the key's name")
        need(note.size == manifest["size"], "the size is not the manifest's")
    with at("installation.checkpoint"):
        installation = checkpoint_of(read(path("installation.checkpoint")), key)
        need(installation.origin == key.name, "the origin is not the key's name")
    with at("installation.proof.json"):
        included(data, proof_of(read(path("installation.proof.json"))), installation)
    events, whole = path("events.ndjson"), manifest["kind"] == "whole"
    with at("events.ndjson"):
        check_file(events, manifest)
        if whole:
            count, root = check_whole(events, manifest["frontier"], manifest["first"], note,
                                      size_claimed(since))
        else:
            count = check_selection(events, path("proofs.ndjson"), manifest, note)
    with at("--since"):
        if since is not None:
            need(whole, "cannot be checked of a selection")
            older = checkpoint_of(since, key)
            need(older.origin == note.origin, "the origin is not the checkpoint's")
            need(older.size <= note.size, "larger than the checkpoint")
            need(older.size >= manifest["first"], "its events are pruned")
            need(older.root == root, "the root is not that of the log")
    return f"{count} events under the checkpoint of {note.size}, signed by {key.name}"

class Arguments(argparse.ArgumentParser):
    def error(self, message):
        raise ValueError(message)

def arguments(words):
    """The bundle, the key (the argument itself or the text of a file), the older checkpoint."""
    parser = Arguments(add_help=False, allow_abbrev=False)
    parser.add_argument("bundle")
    parser.add_argument("--key", required=True)
    parser.add_argument("--since")
    given = parser.parse_args(words)
    try:
        key = key_of(given.key)
    except ValueError:
        if not os.path.exists(given.key):
            raise
        key = key_of(read(given.key).decode("utf-8").strip())
    return given.bundle, key, None if given.since is None else read(given.since)

def main(words):
    status = 2
    try:
        with at("arguments"):
            bundle, key, since = arguments(words)
        status = 1
        status, text = 0, "verified: " + verify(bundle, key, since)
    except Problem as problem:
        text = f"not verified: {problem}"
    except OSError as error:
        status, text = 2, f"not verified: {error.filename or 'a file'}: {error.strerror}"
    except MemoryError:
        status, text = 2, "not verified: a file: does not fit into memory"
    print("".join(c if c.isprintable() else "?" for c in text))
    return status

if __name__ == "__main__":
    sys.stdout.reconfigure(errors="backslashreplace")
    sys.exit(main(sys.argv[1:]))
