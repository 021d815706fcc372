"""What all tests share: a property-based test is judged by what it finds, never by how long a loaded machine took."""

from __future__ import annotations

from hypothesis import HealthCheck, settings

settings.register_profile("lockgate", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("lockgate")
