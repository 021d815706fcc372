"""MAY YOU? Principal + Operation -> Grant. Deny by default; every refusal names the rule, or the lack of one."""

from lockgate.policy.engine import Decision, Grant, PolicyEngine, RuleSource

__all__ = ["Decision", "Grant", "PolicyEngine", "RuleSource"]
