# SPDX-License-Identifier: BSD-2-Clause
"""Runs each ``async def`` test of this folder in a separate asyncio loop on virtual time."""

import asyncio
import inspect

import pytest

from models import virtual_time

LIMIT_S = 20


@pytest.hookimpl(tryfirst=True)
def pytest_pyfunc_call(pyfuncitem):
    if not inspect.iscoroutinefunction(pyfuncitem.obj):
        return None
    names = inspect.signature(pyfuncitem.obj).parameters
    arguments = {name: pyfuncitem.funcargs[name] for name in names}

    async def limited():
        async with asyncio.timeout(LIMIT_S):
            await pyfuncitem.obj(**arguments)

    virtual_time.run(limited())
    return True
