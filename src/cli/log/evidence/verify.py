#!/usr/bin/env python3
"""Checks the evidence in this folder with Python's own library and the command openssl, and with nothing of its maker's.

usage: python3 verify.py [--key KEPT.pub] [FOLDER]

--key is the public key that you kept; without it the one in the folder is used, which came with what it signs.
"""
import argparse, base64, hashlib, json, pathlib, subprocess, sys, tempfile

ED25519_DER = bytes.fromhex("302a300506032b6570032100")


class Wrong(Exception):
    pass


def sha256(data):
    return hashlib.sha256(data).digest()


def leaf(line):
    return sha256(b"\0" + line)


def node(left, right):
    return sha256(b"\1" + left + right)


class Key:
    """A C2SP verifier key: name+id+base64(1 || public key)."""

    def __init__(self, text):
        self.text = text.strip()
        self.name, key_id, encoded = self.text.split("+", 2)
        raw = base64.b64decode(encoded)
        self.id = bytes.fromhex(key_id)
        if raw[:1] != b"\1" or len(raw) != 33 or sha256(self.name.encode() + b"\n" + raw)[:4] != self.id:
            raise Wrong("%s is no Ed25519 verifier key" % self.text)
        self.public = raw[1:]

    def signed(self, note):
        """The signed text of a note, where a signature of this key holds."""
        text, _, signatures = note.rpartition("\n\n")
        text += "\n"
        for line in signatures.splitlines():
            name, _, encoded = line.removeprefix("\u2014 ").partition(" ")
            raw = base64.b64decode(encoded) if encoded else b""
            if name == self.name and raw[:4] == self.id and self.holds(text.encode(), raw[4:]):
                return text
        return None

    def holds(self, text, signature):
        with tempfile.TemporaryDirectory() as folder:
            place = pathlib.Path(folder)
            for name, data in [("key", ED25519_DER + self.public), ("text", text), ("signature", signature)]:
                (place / name).write_bytes(data)
            command = ["openssl", "pkeyutl", "-verify", "-pubin", "-keyform", "DER", "-rawin"]
            command += ["-inkey", place / "key", "-in", place / "text", "-sigfile", place / "signature"]
            return subprocess.run(command, capture_output=True).returncode == 0


def included(line, seq, size, path, root):
    """RFC 9162, 2.1.3.2."""
    if seq >= size:
        return False
    first, last, found = seq, size - 1, leaf(line)
    for sibling in path:
        if last == 0:
            return False
        if first & 1 or first == last:
            found = node(sibling, found)
            while not first & 1 and first:
                first, last = first >> 1, last >> 1
        else:
            found = node(found, sibling)
        first, last = first >> 1, last >> 1
    return last == 0 and found == root


def consistent(old_size, old_root, size, root, path):
    """RFC 9162, 2.1.4.2."""
    if old_size == 0:
        return not path
    if old_size == size:
        return not path and old_root == root
    if old_size & (old_size - 1) == 0:
        path = [old_root] + path
    if not path:
        return False
    first, last = old_size - 1, size - 1
    while first & 1:
        first, last = first >> 1, last >> 1
    old, new = path[0], path[0]
    for sibling in path[1:]:
        if last == 0:
            return False
        if first & 1 or first == last:
            old, new = node(sibling, old), node(sibling, new)
            while not first & 1 and first:
                first, last = first >> 1, last >> 1
        else:
            new = node(new, sibling)
        first, last = first >> 1, last >> 1
    return last == 0 and old == old_root and new == root


def hashes(texts):
    return [base64.b64decode(text) for text in texts]


def checkpoint(keys, note, place):
    """Size and root of a checkpoint that one of the keys signed, a replaced one only up to where it was replaced."""
    for key, until in keys:
        text = key.signed(note)
        if text is not None:
            _, size, root = text.split("\n")[:3]
            if until is None or int(size) <= until:
                return int(size), base64.b64decode(root)
    raise Wrong("%s is not signed by the log's key" % place)


def key_chain(folder, kept):
    """The keys from the kept one on, each with the length up to which it signed."""
    newest, chain = Key((folder / "signing.pub").read_text()), []
    notes = (folder / "keys").read_text().split("\n\n") if (folder / "keys").exists() else []
    # A note is its text, an empty line, its signatures; the next one begins behind those.
    texts = []
    for part in notes:
        if texts:
            lines = part.split("\n")
            count = next((n for n, line in enumerate(lines) if not line.startswith("\u2014 ")), len(lines))
            texts[-1] += "\n\n" + "\n".join(lines[:count]) + "\n"
            part = "\n".join(lines[count:])
        if part.strip():
            texts.append(part)
    for note in texts:
        fields = dict(line.split(" ", 1) for line in note.split("\n") if line.startswith(("key ", "successor ")))
        key = Key(fields["key"])
        text = key.signed(note)
        if text is None or (chain and chain[-1][2] != key.text):
            raise Wrong("keys: %s was not introduced by the key before it" % key.text)
        chain.append((key, int(text.split("\n")[1]), fields["successor"]))
    if chain and chain[-1][2] != newest.text:
        raise Wrong("signing.pub was not introduced by the key before it")
    keys = [(newest, None)] + [(key, until) for key, until, _ in reversed(chain)]
    if kept is not None and kept.text not in [key.text for key, _ in keys]:
        raise Wrong("the log's key does not follow from the key that you kept")
    return keys


def check(folder, kept):
    keys = key_chain(folder, kept)
    size, root = checkpoint(keys, (folder / "checkpoint").read_text(), "checkpoint")
    records = (folder / "records.jsonl").read_bytes().splitlines()
    proofs = [json.loads(line) for line in (folder / "proofs.jsonl").read_text().splitlines()]
    if len(records) != len(proofs):
        raise Wrong("%d records and %d proofs" % (len(records), len(proofs)))
    for line, proof in zip(records, proofs):
        same = json.loads(line).get("seq") == proof["seq"]
        if not (same and included(line, proof["seq"], size, hashes(proof["path"]), root)):
            raise Wrong("record %d is not the one that was signed" % proof["seq"])
    if not set((folder / "approvals.jsonl").read_bytes().splitlines()) <= set(records):
        raise Wrong("approvals.jsonl holds what is no record")
    older = {checkpoint(keys, path.read_text(), path) for path in sorted((folder / "checkpoints").iterdir())}
    for line in (folder / "consistency.jsonl").read_text().splitlines():
        proof = json.loads(line)
        old_size, old_root = proof["old_size"], base64.b64decode(proof["old_root"])
        if (old_size, old_root) not in older or not consistent(old_size, old_root, size, root, hashes(proof["path"])):
            raise Wrong("the log does not go on from its checkpoint over %d records" % old_size)
        older.discard((old_size, old_root))
    if older:
        raise Wrong("no proof that the log goes on from its checkpoint over %d records" % min(older)[0])
    for path in (folder / "policies").iterdir():
        if sha256(path.read_bytes()).hex() != path.name:
            raise Wrong("policies/%s was edited" % path.name)
    return len(records), size


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--key", type=pathlib.Path)
    parser.add_argument("folder", nargs="?", type=pathlib.Path, default=pathlib.Path(__file__).parent)
    given = parser.parse_args()
    try:
        kept = Key(given.key.read_text()) if given.key else None
        count, size = check(given.folder, kept)
    except (Wrong, KeyError, ValueError, OSError) as error:
        print("NOT INTACT: %s" % error)
        sys.exit(1)
    whose = "the key that you kept" if given.key else "the key in this folder: compare it with one that you kept"
    print("intact: %d records of a log of %d, signed under %s" % (count, size, whose))


if __name__ == "__main__":
    main()
