"""WHO HEARS IT? The topic space: subscriptions, retained messages, sessions and deliveries, the same for every door."""

from lockgate.hub.hub import Hub
from lockgate.hub.ports import Outlet, SessionStore
from lockgate.hub.rates import Meter, Rates
from lockgate.hub.receipts import Opened, Receipt
from lockgate.hub.session import Session

__all__ = ["Hub", "Meter", "Opened", "Outlet", "Rates", "Receipt", "Session", "SessionStore"]
