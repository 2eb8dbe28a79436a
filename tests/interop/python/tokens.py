"""A relying party that checks scoped tokens with what Python services have: PyJWT
for access tokens, which knows nothing but the issuer's URL, and the PyPI package
`spiffe` for JWT-SVIDs. Tokens come from the agent's JSON API.

usage: tokens.py SOCKET-PATH ISSUER CA-FILE
"""

import base64
import hashlib
import http.client
import json
import socket
import ssl
import sys
import time
import urllib.request

import jwt
from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding
from spiffe import JwtSvid, WorkloadApiClient


def ask(path, wish):
    class Local(http.client.HTTPConnection):
        def connect(self):
            self.sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
            self.sock.connect(path)

    connection = Local("localhost")
    headers = {"workload.spiffe.io": "true", "content-type": "application/json"}
    connection.request("POST", "/v1/token", json.dumps(wish), headers)
    answer = connection.getresponse()
    return answer.status, json.loads(answer.read())


def token(path, wish):
    deadline = time.monotonic() + 30
    while True:
        status, answer = ask(path, wish)
        if status == 200:
            return answer
        if time.monotonic() > deadline:
            sys.exit(f"no token: {answer}")
        time.sleep(0.1)


def access_token(path, issuer, context):
    pair = token(path, {"audience": "payments", "permissions": ["payments:charge.read"]})
    with urllib.request.urlopen(issuer + "/.well-known/openid-configuration", context=context) as answer:
        found = json.load(answer)
    assert found["issuer"] == issuer, found
    keys = jwt.PyJWKClient(found["jwks_uri"], ssl_context=context)
    key = keys.get_signing_key_from_jwt(pair["token"]).key
    known = {"algorithms": ["ES256"], "issuer": issuer}
    claims = jwt.decode(pair["token"], key, audience="payments", **known)
    assert jwt.get_unverified_header(pair["token"])["typ"] == "at+jwt"
    assert claims["scope"] == "payments:charge.read", claims
    assert claims["client_id"] == claims["sub"] == pair["spiffe_id"], claims
    leaf = x509.load_pem_x509_certificate(pair["certificate"]["x509_svid"].encode())
    thumbprint = hashlib.sha256(leaf.public_bytes(Encoding.DER)).digest()
    assert claims["cnf"] == {"x5t#S256": base64.urlsafe_b64encode(thumbprint).rstrip(b"=").decode()}
    assert claims["exp"] <= leaf.not_valid_after_utc.timestamp(), claims
    for wrong in ({"audience": "ledger", **known}, {"audience": "payments", **known, "issuer": issuer + "/"}):
        try:
            jwt.decode(pair["token"], key, **wrong)
        except jwt.InvalidTokenError:
            continue
        sys.exit(f"accepted for {wrong}")
    print(json.dumps({"profile": "at+jwt", "claims": claims}))


def jwt_svid(path):
    wish = {"audience": "payments", "permissions": ["payments:charge.read"], "profile": "jwt-svid"}
    pair = token(path, wish)
    with WorkloadApiClient(socket_path="unix://" + path) as client:
        assert client.validate_jwt_svid(pair["token"], "payments").token == pair["token"]
        bundles = client.fetch_jwt_bundles()
        svid = JwtSvid.parse_insecure(pair["token"], {"payments"})
        bundle = bundles.get_bundle_for_trust_domain(svid.spiffe_id.trust_domain)
        JwtSvid.parse_and_validate(pair["token"], bundle, {"payments"})
        access = token(path, {"audience": "payments", "permissions": ["payments:charge.read"]})
        try:
            JwtSvid.parse_and_validate(access["token"], bundle, {"payments"})
        except Exception:  # the library has a type for each reason
            print(json.dumps({"profile": "jwt-svid", "spiffe_id": str(svid.spiffe_id)}))
            return
    sys.exit("an access token was taken for a JWT-SVID")


def main():
    if len(sys.argv) != 4:
        sys.exit("usage: tokens.py SOCKET-PATH ISSUER CA-FILE")
    path, issuer, authority = sys.argv[1:]
    access_token(path, issuer, ssl.create_default_context(cafile=authority))
    jwt_svid(path)


if __name__ == "__main__":
    main()
