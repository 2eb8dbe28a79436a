"""A workload written with the PyPI package `spiffe` alone (gRPC's C core).

It walks through what a Python service does with the Workload API and prints one
JSON line a step, so that the interop tests can compare what each library saw.

usage: peer.py SOCKET-URI AUDIENCE UPDATES
"""

import json
import sys
import threading

from spiffe import WorkloadApiClient


def say(step, identity, detail=""):
    print(json.dumps({"step": step, "id": str(identity), "detail": str(detail)}), flush=True)


def x509(client):
    svid = client.fetch_x509_svid()
    say("x509", svid.spiffe_id, format(svid.leaf.serial_number, "x"))
    bundles = client.fetch_x509_bundles()
    domain = svid.spiffe_id.trust_domain
    bundle = bundles.get_bundle_for_trust_domain(domain)
    say("bundles", domain, len(bundle.x509_authorities))


def jwt(client, audience):
    svid = client.fetch_jwt_svid(audience={audience})
    say("jwt", svid.spiffe_id, audience)
    client.fetch_jwt_bundles()
    valid = client.validate_jwt_svid(svid.token, audience)
    say("validate", valid.spiffe_id, audience)
    try:
        client.validate_jwt_svid(svid.token, "another-audience")
    except Exception:  # the library wraps the status in its own type
        say("validate-other", "refused")
    else:
        sys.exit("validate-other: accepted for an audience it was not made for")


def watch(client, updates):
    done = threading.Event()
    left = [updates]

    def on_update(context):
        if left[0] > 0:
            svid = context.default_svid
            say("watch", svid.spiffe_id, format(svid.leaf.serial_number, "x"))
            left[0] -= 1
            if left[0] == 0:
                done.set()

    def on_error(error):
        print("watch:", error, file=sys.stderr)

    subscription = client.stream_x509_contexts(on_success=on_update, on_error=on_error)
    if not done.wait(60):
        sys.exit("watch: not enough updates within a minute")
    subscription.cancel()


def main():
    if len(sys.argv) != 4:
        sys.exit("usage: peer.py SOCKET-URI AUDIENCE UPDATES")
    with WorkloadApiClient(socket_path=sys.argv[1]) as client:
        x509(client)
        jwt(client, sys.argv[2])
        watch(client, int(sys.argv[3]))


if __name__ == "__main__":
    main()
