"""The demo: a real reading of this host becomes a verified webhook, an email, and audit records that prove both."""

from tocsin.deploy.demo.command import demo

__all__ = ["demo"]
