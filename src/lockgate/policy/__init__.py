"""MAY YOU? Principal + Operation -> Grant. Deny by default; every refusal names the rule, or the lack of one."""

from lockgate.policy.engine import (
    HUB_DEVICE,
    LAB_DEVICE,
    UNLIMITED_BYTES,
    Decision,
    Denied,
    Grant,
    PolicyEngine,
    RuleSource,
)

__all__ = ["HUB_DEVICE", "LAB_DEVICE", "UNLIMITED_BYTES", "Decision", "Denied", "Grant", "PolicyEngine", "RuleSource"]
