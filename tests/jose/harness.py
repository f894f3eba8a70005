"""Runs the program of the manual, which is the first argument: a line of JSON for each token, and a line with what came of it."""

import json
import sys

import jwt

program = {}
exec(compile(open(sys.argv[1]).read(), sys.argv[1], "exec"), program)
issuer, identifier, jwks = sys.argv[2:5]
verifier = program["Verifier"](issuer, identifier, jwks, pause=0)
for line in sys.stdin:
    sent = json.loads(line)
    try:
        print("taken", verifier.claims(sent["token"], sent["scope"])["sub"], flush=True)
    except jwt.PyJWTError as error:
        print("refused", type(error).__name__, flush=True)
