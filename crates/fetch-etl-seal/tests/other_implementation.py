"""The format of fetch-etl-seal, written a second time, with Python's `cryptography` (47 or later, for HPKE).

    python3 other_implementation.py check          opens every vector in vectors.json
    python3 other_implementation.py keys           prints new test keys, one of each kind
    python3 other_implementation.py seal KEY ...   prints a new vector: seal KEY PURPOSE MESSAGE_KEY BODY

Not part of the tests: it is how vectors.json was made and cross-checked.
"""

import base64
import hashlib
import json
import os
import pathlib
import sys

import cryptography
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import padding, rsa, x25519
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.hpke import AEAD, KDF, KEM, Suite

VECTORS = pathlib.Path(__file__).with_name("vectors.json")
SUITE = Suite(KEM.X25519, KDF.HKDF_SHA256, AEAD.AES_256_GCM)
OAEP = padding.OAEP(padding.MGF1(hashes.SHA256()), hashes.SHA256(), None)
PURPOSES = {"quarantine": 1, "vault": 2}
RAW = serialization.Encoding.Raw, serialization.PublicFormat.Raw
RAW_PRIVATE = serialization.Encoding.Raw, serialization.PrivateFormat.Raw, serialization.NoEncryption()
SPKI = serialization.PublicFormat.SubjectPublicKeyInfo


def spki(public):
    return public.public_bytes(serialization.Encoding.DER, SPKI)


def recipient_id(public):
    return hashlib.sha256(spki(public)).digest()[:8]


def line(label, key):
    return label + base64.b64encode(key + hashlib.sha256(label.encode() + key).digest()[:4]).decode()


def public_text(public):
    if isinstance(public, x25519.X25519PublicKey):
        return line("fetch-etl-recipient-v1:x25519:", public.public_bytes(*RAW))
    return public.public_bytes(serialization.Encoding.PEM, SPKI).decode()


def private_text(private):
    if isinstance(private, x25519.X25519PrivateKey):
        return line("fetch-etl-private-v1:x25519:", private.private_bytes(*RAW_PRIVATE))
    pkcs8 = serialization.PrivateFormat.PKCS8
    return private.private_bytes(serialization.Encoding.PEM, pkcs8, serialization.NoEncryption()).decode()


def load(text):
    label = "fetch-etl-private-v1:x25519:"
    if text.startswith(label):
        raw = base64.b64decode(text[len(label):])
        key, checksum = raw[:32], raw[32:]
        assert hashlib.sha256(label.encode() + key).digest()[:4] == checksum
        return x25519.X25519PrivateKey.from_private_bytes(key)
    return serialization.load_pem_private_key(text.encode(), None)


def aad(header, message_key):
    fields = [(1, b"fetch-etl/seal/v1"), (2, header), (3, message_key.encode())]
    return b"".join(bytes([tag]) + len(value).to_bytes(8, "big") + value for tag, value in fields)


def info(purpose):
    return b"fetch-etl/seal/v1/" + purpose.encode()


def seal(public, purpose, message_key, body):
    key = AESGCM.generate_key(256)
    if isinstance(public, x25519.X25519PublicKey):
        algorithm, wrapped = 1, SUITE.encrypt(key, public, info(purpose))
        assert len(wrapped) == 80
    else:
        algorithm, wrapped = 2, public.encrypt(key, OAEP)
    header = bytes([1, 1, algorithm, PURPOSES[purpose]]) + recipient_id(public)
    nonce = os.urandom(12)
    ciphertext = AESGCM(key).encrypt(nonce, body, aad(header, message_key))
    return header + len(wrapped).to_bytes(2, "big") + wrapped + nonce + ciphertext


def open_sealed(private, purpose, message_key, sealed):
    header, rest = sealed[:12], sealed[12:]
    length, rest = int.from_bytes(rest[:2], "big"), rest[2:]
    wrapped, nonce, ciphertext = rest[:length], rest[length:length + 12], rest[length + 12:]
    is_x25519 = isinstance(private, x25519.X25519PrivateKey)
    expected = bytes([1, 1, 1 if is_x25519 else 2, PURPOSES[purpose]]) + recipient_id(private.public_key())
    assert header == expected, "header"
    key = SUITE.decrypt(wrapped, private, info(purpose)) if is_x25519 else private.decrypt(wrapped, OAEP)
    return AESGCM(key).decrypt(nonce, ciphertext, aad(header, message_key))


def check():
    file = json.loads(VECTORS.read_text())
    for name, key in file["keys"].items():
        private = load(key["private"])
        assert recipient_id(private.public_key()).hex() == key["recipient_id"], name
        assert public_text(private.public_key()) == key["public"], name
        assert private_text(private) == key["private"], name
    for vector in file["vectors"]:
        private = load(file["keys"][vector["key"]]["private"])
        sealed = base64.b64decode(vector["sealed_base64"])
        body = open_sealed(private, vector["purpose"], vector["message_key"], sealed)
        assert base64.b64encode(body).decode() == vector["body_base64"], vector["name"]
    print(f"{len(file['keys'])} keys and {len(file['vectors'])} vectors agree")


def keys():
    pairs = {
        "rsa3072": rsa.generate_private_key(65537, 3072),
        "rsa4096": rsa.generate_private_key(65537, 4096),
        "x25519": x25519.X25519PrivateKey.generate(),
    }
    return {
        name: {
            "recipient_id": recipient_id(private.public_key()).hex(),
            "public": public_text(private.public_key()),
            "private": private_text(private),
        }
        for name, private in pairs.items()
    }


def vector(key, purpose, message_key, body):
    private = load(json.loads(VECTORS.read_text())["keys"][key]["private"])
    body = body.encode(errors="surrogateescape")
    return {
        "name": f"{key} {purpose} other implementation",
        "made_by": f"Python cryptography {cryptography.__version__}",
        "key": key,
        "purpose": purpose,
        "message_key": message_key,
        "body_base64": base64.b64encode(body).decode(),
        "sealed_base64": base64.b64encode(seal(private.public_key(), purpose, message_key, body)).decode(),
    }


if __name__ == "__main__":
    match sys.argv[1:]:
        case ["check"]:
            check()
        case ["keys"]:
            print(json.dumps(keys(), indent=2))
        case ["seal", *arguments] if len(arguments) == 4:
            print(json.dumps(vector(*arguments), indent=2, ensure_ascii=False))
        case _:
            sys.exit(__doc__)
