"""What a user of python3-dbus writes: only the bus name and the introspection are known.

Prints one line for each thing that happened. With "refused" it only tries to prune.
"""
import sys

import dbus
import dbus.mainloop.glib
from gi.repository import GLib

NAME = "org.impermanence1"

dbus.mainloop.glib.DBusGMainLoop(set_as_default=True)
bus = dbus.SystemBus()
manager = dbus.Interface(bus.get_object(NAME, "/org/impermanence1"), NAME + ".Manager")

if "refused" in sys.argv:
    try:
        manager.Prune({}, 0)
    except dbus.DBusException as error:
        print(error.get_dbus_name())
    sys.exit()

for path, name, rolled_over, flags in manager.ListRoots({"kind": "old"}, 0):
    print("root", path, name, rolled_over > 0, flags)

job = manager.CreateSnapshot("from python", {}, 0)
print("snapshot", job)
dbus.Interface(bus.get_object(NAME, job), NAME + ".Job").Cancel({}, 0)
print("canceled", bus.get_object(NAME, job).Get(NAME + ".Job", "Result", dbus_interface=dbus.PROPERTIES_IFACE))

loop = GLib.MainLoop()
progress = []


def changed(interface, properties, invalidated, path=None):
    if path == pruning and "Progress" in properties:
        progress.append(float(properties["Progress"]))


def removed(job, operation, result, error_name, error_message):
    if job == pruning:
        print("pruned", operation, result, progress == sorted(progress) and len(progress) > 1)
        loop.quit()


bus.add_signal_receiver(changed, "PropertiesChanged", dbus.PROPERTIES_IFACE, NAME, path_keyword="path")
bus.add_signal_receiver(removed, "JobRemoved", NAME + ".Manager", NAME, "/org/impermanence1")
pruning = manager.Prune({"keepLast": dbus.UInt32(1)}, 0)
loop.run()
