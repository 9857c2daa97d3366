"""The parts of the reactor that reaching others takes."""

from twisted.internet.interfaces import IReactorTCP, IReactorTime, IReactorUDP


class NetReactor(IReactorTime, IReactorUDP, IReactorTCP):
    """What twisted.internet.reactor provides and this package uses.

    It is for the type checker: the reactor does not declare it, so it is cast.
    """
