"""``twistd noinfra``: names the module that makes the service, and imports no more."""

from twisted.application.service import ServiceMaker

noinfra = ServiceMaker(
    "noinfra", "noinfra.cli.tap", "The mail server for AI agents.", "noinfra"
)
