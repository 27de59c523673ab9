"""Constructs of this app: defaults live here once.

``# pyright: ignore[reportArgumentType]`` stands where a class of the CDK is passed as the interface it implements:
the Python classes that jsii generates rename parameters, so that a strict checker does not see the protocol in them.
"""
