"""A second opinion: what should become of each message, by another implementation in another language.

Reads {"method", "keys_hex", "domain", "key_id", "messages": [{"id", "body"}]} on stdin, and writes one line for each message:
{"id", "row": [user_id, device_type, masked_ip, masked_device_id, locale, app_version, app_version_text, mask_key_id]} or
{"id", "row": null} for what should be rejected. Needs Python 3.9 and nothing else.
"""

import hashlib
import hmac
import ipaddress
import json
import re
import struct
import sys

FIELDS = ("user_id", "app_version", "device_type", "ip", "locale", "device_id")
LENGTHS = {"user_id": 128, "app_version": 64, "device_type": 32, "locale": 32}


class Rejected(Exception):
    pass


class Object(dict):
    def __init__(self, pairs):
        super().__init__(pairs)
        names = [name for name, _ in pairs if name in FIELDS]
        self.repeats = len(names) != len(set(names))


def refuse_constant(_):
    raise Rejected


def finite(text):
    number = float(text)
    if number in (float("inf"), float("-inf")):
        raise Rejected
    return number


def check(value, depth=1):
    """All of a message must be sound, also what nobody looks at: its texts Unicode, its nesting no deeper than 127."""
    if isinstance(value, str):
        if any(0xD800 <= ord(c) <= 0xDFFF for c in value):
            raise Rejected
    elif isinstance(value, (dict, list)):
        if depth > 127:
            raise Rejected
        for item in value.items() if isinstance(value, dict) else value:
            for part in item if isinstance(value, dict) else (item,):
                check(part, depth + 1)


def decode(body):
    try:
        event = json.loads(body, object_pairs_hook=Object, parse_constant=refuse_constant, parse_float=finite)
        body.encode("utf-8")
    except (ValueError, RecursionError):
        raise Rejected from None
    check(event)
    if not isinstance(event, dict) or event.repeats or any(name not in event for name in FIELDS):
        raise Rejected
    for name in FIELDS:
        value = event[name]
        if value is None and name != "user_id":
            continue
        if not isinstance(value, str):
            raise Rejected
        if name in LENGTHS and (len(value) > LENGTHS[name] or "\0" in value):
            raise Rejected
    if event["user_id"] == "":
        raise Rejected
    return event


def version(text):
    if text is None:
        return None
    if not re.fullmatch(r"[0-9]+(\.[0-9]+)*", text):
        raise Rejected
    parts = [int(part) for part in text.split(".")]
    if len(parts) > 3:
        return None
    major, minor, patch = parts + [0] * (3 - len(parts))
    number = major * 1_000_000 + minor * 1_000 + patch
    return number if minor <= 999 and patch <= 999 and number < 2**31 else None


def hkdf_sha512(master, info):
    # RFC 5869 with no salt; 64 bytes are one block.
    secret = hmac.new(b"\0" * 64, master, hashlib.sha512).digest()
    return hmac.new(secret, info + b"\x01", hashlib.sha512).digest()


def canonical(field, text):
    if field == "ip":
        try:
            address = ipaddress.ip_address(text)
            if "%" in text:
                raise ValueError
            packed = address.packed if address.version == 6 else b"\0" * 10 + b"\xff\xff" + address.packed
            return b"\x01", packed
        except ValueError:
            return b"\x03", text.encode("utf-8")
    return b"\x02", text.encode("utf-8")


def masker(request):
    domain = request.get("domain", "")
    steps = [
        {f: hkdf_sha512(bytes.fromhex(key), f"fetch-etl/mask/v1/{domain}/{f}".encode()) for f in ("ip", "device_id")}
        for key in request.get("keys_hex", [])
    ]

    def keyed(key, kind, data):
        return hmac.new(key, b"\x01" + kind + struct.pack(">I", len(data)) + data, hashlib.sha512).digest()

    def mask(field, text):
        if request["method"] == "sha512":
            digest, rest = hashlib.sha512(text.encode("utf-8")).digest(), steps
        else:
            digest, rest = keyed(steps[0][field], *canonical(field, text)), steps[1:]
        for step in rest:
            digest = keyed(step[field], b"\x10", digest)
        return digest.hex()

    return mask


def main():
    request = json.load(sys.stdin)
    mask = masker(request)
    for message in request["messages"]:
        try:
            event = decode(message["body"])
            number = version(event["app_version"])
            masked = {f: None if event[f] is None else mask(f, event[f]) for f in ("ip", "device_id")}
            row = [event["user_id"], event["device_type"], masked["ip"], masked["device_id"], event["locale"],
                   number, event["app_version"], request["key_id"]]
        except Rejected:
            row = None
        print(json.dumps({"id": message["id"], "row": row}))


main()
