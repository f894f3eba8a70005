"""Runs the programs of the recipe, which are the arguments: says the thumbprint, and for each line of JSON the headers of a request."""

import json
import sys

program = {}
for part in sys.argv[1:]:
    exec(compile(open(part).read(), part, "exec"), program)
sys.stdout.flush()
for line in sys.stdin:
    sent = json.loads(line)
    print(json.dumps(program["headers"](sent["method"], sent["address"], sent["token"])), flush=True)
