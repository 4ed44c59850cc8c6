"""The format of fetch-etl-seal, written a second time, with Python's `cryptography` (47 or later, for HPKE).

    python3 other_implementation.py check          opens every vector in vectors.json
    python3 other_implementation.py keys           prints new test keys, one of each kind
    python3 other_implementation.py seal KEY ...   prints a new vector: seal KEY PURPOSE MESSAGE_KEY BODY
    python3 other_implementation.py value KEY ...  prints a new one for the vault: value KEY FIELD MASK_KEY_ID VALUE

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


def fields(*fields):
    return b"".join(bytes([tag]) + len(value).to_bytes(8, "big") + value for tag, value in fields)


def aad(header, message_key):
    return fields((1, b"fetch-etl/seal/v1"), (2, header), (3, message_key.encode()))


def value_aad(field, mask, mask_key_id, data_key_id):
    return fields(
        (1, b"fetch-etl/vault/v1"),
        (4, b"etl.pii_vault"),
        (5, field.encode()),
        (6, mask),
        (7, mask_key_id.to_bytes(4, "big", signed=True)),
        (8, data_key_id),
    )


def info(purpose):
    return b"fetch-etl/seal/v1/" + purpose.encode()


def wrap(public, place, purpose):
    """A new data key, and what stands before the nonce."""
    key = AESGCM.generate_key(256)
    if isinstance(public, x25519.X25519PublicKey):
        algorithm, wrapped = 1, SUITE.encrypt(key, public, info(purpose))
        assert len(wrapped) == 80
    else:
        algorithm, wrapped = 2, public.encrypt(key, OAEP)
    header = bytes([1, place, algorithm, PURPOSES[purpose]]) + recipient_id(public)
    return key, header + len(wrapped).to_bytes(2, "big") + wrapped


def unwrap(private, place, purpose, sealed):
    """The data key, and what stands behind it."""
    header, rest = sealed[:12], sealed[12:]
    length, rest = int.from_bytes(rest[:2], "big"), rest[2:]
    wrapped, rest = rest[:length], rest[length:]
    is_x25519 = isinstance(private, x25519.X25519PrivateKey)
    expected = bytes([1, place, 1 if is_x25519 else 2, PURPOSES[purpose]]) + recipient_id(private.public_key())
    assert header == expected, "header"
    key = SUITE.decrypt(wrapped, private, info(purpose)) if is_x25519 else private.decrypt(wrapped, OAEP)
    return key, rest


def seal(public, purpose, message_key, body):
    key, prefix = wrap(public, 1, purpose)
    nonce = os.urandom(12)
    return prefix + nonce + AESGCM(key).encrypt(nonce, body, aad(prefix[:12], message_key))


def open_sealed(private, purpose, message_key, sealed):
    key, rest = unwrap(private, 1, purpose, sealed)
    return AESGCM(key).decrypt(rest[:12], rest[12:], aad(sealed[:12], message_key))


def seal_value(public, field, mask, mask_key_id, value):
    """The data key's id, the data key and the value, as the vault's columns hold them."""
    data_key_id, nonce = os.urandom(16), os.urandom(12)
    key, data_key = wrap(public, 2, "vault")
    padded = len(value).to_bytes(4, "big") + value
    padded += bytes(-len(padded) % 64)
    sealed = AESGCM(key).encrypt(nonce, padded, value_aad(field, mask, mask_key_id, data_key_id))
    return data_key_id, data_key, b"\x01" + nonce + sealed


def open_value(private, field, mask, mask_key_id, data_key_id, data_key, ciphertext):
    key, rest = unwrap(private, 2, "vault", data_key)
    assert not rest and ciphertext[:1] == b"\x01"
    associated = value_aad(field, mask, mask_key_id, data_key_id)
    padded = AESGCM(key).decrypt(ciphertext[1:13], ciphertext[13:], associated)
    length = int.from_bytes(padded[:4], "big")
    assert len(padded) == (length + 4 + 63) // 64 * 64 and not any(padded[4 + length:])
    return padded[4:4 + length]


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
    for vector in file["vault"]:
        value = open_value(
            load(file["keys"][vector["key"]]["private"]),
            vector["field"],
            bytes.fromhex(vector["mask_hex"]),
            vector["mask_key_id"],
            bytes.fromhex(vector["data_key_id_hex"]),
            base64.b64decode(vector["data_key_base64"]),
            base64.b64decode(vector["ciphertext_base64"]),
        )
        assert value.decode() == vector["value"], vector["name"]
    print(f"{len(file['keys'])} keys, {len(file['vectors'])} bodies and {len(file['vault'])} values agree")


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


def value_vector(key, field, mask_key_id, value):
    public = load(json.loads(VECTORS.read_text())["keys"][key]["private"]).public_key()
    mask = hashlib.sha512(value.encode()).digest()
    data_key_id, data_key, ciphertext = seal_value(public, field, mask, int(mask_key_id), value.encode())
    return {
        "name": f"{key} {field} other implementation",
        "made_by": f"Python cryptography {cryptography.__version__}",
        "key": key,
        "data_key_id_hex": data_key_id.hex(),
        "data_key_base64": base64.b64encode(data_key).decode(),
        "field": field,
        "mask_hex": mask.hex(),
        "mask_key_id": int(mask_key_id),
        "value": value,
        "ciphertext_base64": base64.b64encode(ciphertext).decode(),
    }


if __name__ == "__main__":
    match sys.argv[1:]:
        case ["check"]:
            check()
        case ["keys"]:
            print(json.dumps(keys(), indent=2))
        case ["seal", *arguments] if len(arguments) == 4:
            print(json.dumps(vector(*arguments), indent=2, ensure_ascii=False))
        case ["value", *arguments] if len(arguments) == 4:
            print(json.dumps(value_vector(*arguments), indent=2, ensure_ascii=False))
        case _:
            sys.exit(__doc__)
