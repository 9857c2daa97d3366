"""Bodies that the documentation shows; a test sends each through its decoder."""

from __future__ import annotations

from typing import Any

BODIES: dict[str, dict[str, Any]] = {
    "customers.create": {"name": "Example Ltd", "metadata": {"plan": "pro"}},
    "customers.update": {"name": "Example Limited", "metadata": {"plan": None}},
    "deployments.create": {
        "customerId": "cus_01K0000000000000000000000A",
        "name": "Support",
        "clientId": "support-production",
    },
    "deployments.update": {"name": "Support, Europe"},
    "agents.create": {
        "customerId": "cus_01K0000000000000000000000A",
        "deploymentId": "dep_01K0000000000000000000000A",
        "name": "Support Agent",
        "externalId": "support-agent",
        "defaultInboxUsername": "support",
    },
    "agents.update": {"status": "suspended"},
    "inboxes.create": {
        "deploymentId": "dep_01K0000000000000000000000A",
        "username": "billing",
        "displayName": "Billing",
        "clientId": "billing-1",
    },
    "inboxes.update": {"displayName": "Billing, Example Ltd"},
    "inboxes.rotatePassword": {},
    "messages.send": {
        "to": ["Ada Lovelace <ada@example.com>"],
        "subject": "Hello from an agent",
        "text": "A useful, human-readable message.",
        "labels": ["outreach"],
    },
    "messages.reply": {"text": "Thanks, I am on it."},
    "messages.replyAll": {"text": "Thank you all."},
    "messages.forward": {"to": ["grace@example.com"], "text": "For you to decide."},
    "messages.update": {"addLabels": ["needs-reply"], "removeLabels": ["triaged"]},
    "threads.update": {"addLabels": ["vip"]},
    "threads.reply": {"text": "One more thing.", "replyAll": True},
    "keys.create": {
        "name": "support worker",
        "customerId": "cus_01K0000000000000000000000A",
        "preset": "runtime",
    },
}

#: What stands for an identifier in a path.
IDS = {
    "customerId": "cus_01K0000000000000000000000A",
    "deploymentId": "dep_01K0000000000000000000000A",
    "agentId": "agt_01K0000000000000000000000A",
    "inboxId": "support@agents.example",
    "messageId": "msg_01K0000000000000000000000A",
    "threadId": "thr_01K0000000000000000000000A",
    "attachmentId": "att_2",
    "keyId": "key_01K0000000000000000000000A",
}
