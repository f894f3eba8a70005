"""Signs a body by a library: as Slack does, or by Standard Webhooks."""

import datetime
import sys

kind, secret, at, identifier, body = sys.argv[1:]
if kind == "slack":
    from slack_sdk.signature import SignatureVerifier

    print(SignatureVerifier(secret).generate_signature(timestamp=at, body=body))
else:
    from standardwebhooks.webhooks import Webhook

    moment = datetime.datetime.fromtimestamp(int(at), tz=datetime.timezone.utc)
    print(Webhook(secret).sign(identifier, moment, body))
