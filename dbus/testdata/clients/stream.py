"""What a user of python3-dbus writes to read a large result, as org.impermanence1(5) has it.

Calls the method that is named with the flags 0 and prints each line that comes.
"""
import json
import socket
import sys

import dbus

NAME = "org.impermanence1"

bus = dbus.SystemBus()
manager = dbus.Interface(bus.get_object(NAME, "/org/impermanence1"), NAME + ".Manager")
job, path = manager.get_dbus_method(sys.argv[1])(dbus.UInt64(0))
with socket.socket(socket.AF_UNIX) as s:
    s.connect(bytes(path).rstrip(b"\0"))
    for line in s.makefile():
        print(json.loads(line))
