"""``python -m qbo_sink.sandbox``: serve the sandbox from the command line."""

from __future__ import annotations

import argparse

import msgspec

from qbo_sink.sandbox.app import serve
from qbo_sink.sandbox.switches import Settings, Switches


def main() -> None:
    """Read the options and serve until interrupted."""
    defaults = Settings()
    parser = argparse.ArgumentParser(prog="qbo_sink.sandbox", description=__doc__)
    parser.add_argument("--books", default="sandbox.db", help="SQLite file, or :memory:")
    parser.add_argument("--host", default="127.0.0.1")
    parser.add_argument("--port", type=int, default=8850)
    parser.add_argument("--realm", default=defaults.realm)
    parser.add_argument("--country", choices=("US", "GB"), default=defaults.country)
    parser.add_argument("--client-id", default=defaults.client_id)
    parser.add_argument("--client-secret", default=defaults.client_secret)
    parser.add_argument("--webhook-url", default="")
    parser.add_argument("--webhook-verifier", default=defaults.webhook_verifier)
    parser.add_argument("--certificate", default="", help="PEM file; serves https")
    parser.add_argument("--key", default="", help="PEM file of the certificate's key")
    parser.add_argument("--switches", default="{}", help="JSON object, for new books only")
    options = parser.parse_args()
    settings = Settings(
        realm=options.realm,
        country=options.country,
        client_id=options.client_id,
        client_secret=options.client_secret,
        webhook_url=options.webhook_url,
        webhook_verifier=options.webhook_verifier,
        switches=msgspec.json.decode(options.switches, type=Switches),
    )
    serve(
        options.books,
        settings,
        host=options.host,
        port=options.port,
        certificate=options.certificate,
        key=options.key,
    )


if __name__ == "__main__":
    main()
