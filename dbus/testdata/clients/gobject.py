"""What a desktop tool does: GLib's GDBusObjectManagerClient keeps a copy of all objects.

Prints one line for each thing that happened. With "refused" it only tries to prune,
with "interactive" it lets polkit ask for that.
"""
import sys

from gi.repository import Gio, GLib

NAME = "org.impermanence1"
PATH = "/org/impermanence1"

bus = Gio.bus_get_sync(Gio.BusType.SYSTEM)


def call(path, interface, method, arguments, flags=Gio.DBusCallFlags.NONE):
    return bus.call_sync(NAME, path, NAME + "." + interface, method, arguments, None, flags, -1, None)


if "interactive" in sys.argv:
    flags = Gio.DBusCallFlags.ALLOW_INTERACTIVE_AUTHORIZATION
    print("pruning", *call(PATH, "Manager", "Prune", GLib.Variant("(a{sv}t)", ({}, 0)), flags))
    sys.exit()
if "refused" in sys.argv:
    try:
        call(PATH, "Manager", "Prune", GLib.Variant("(a{sv}t)", ({}, 0)))
    except GLib.Error as error:
        print(Gio.DBusError.get_remote_error(error))
    sys.exit()

objects = Gio.DBusObjectManagerClient.new_sync(bus, Gio.DBusObjectManagerClientFlags.NONE, NAME, PATH, None, None, None)


def get(path, interface, name):
    return objects.get_object(path).get_interface(NAME + "." + interface).get_cached_property(name)


for found in sorted(o.get_object_path() for o in objects.get_objects()):
    print("object", found)
print("path", bytes(get(PATH + "/root/257", "Root", "Path").get_bytestring()))

loop = GLib.MainLoop()
progress = []


def properties_changed(manager, object_proxy, interface_proxy, changed, invalidated):
    changed = changed.unpack()
    if "Progress" in changed:
        progress.append(changed["Progress"])
    if changed.get("State") == "done":
        print("ended", object_proxy.get_object_path(), changed["Result"], progress == sorted(progress))
        loop.quit()


objects.connect("object-added", lambda manager, added: print("added", added.get_object_path()))
objects.connect("interface-proxy-properties-changed", properties_changed)

(job,) = call(PATH, "Manager", "CreateSnapshot", GLib.Variant("(sa{sv}t)", ("from GLib", {}, 0)))
call(job, "Job", "Cancel", GLib.Variant("(a{sv}t)", ({}, 0)))
loop.run()
call(PATH, "Manager", "Prune", GLib.Variant("(a{sv}t)", ({}, 0)))
loop.run()
print("progress", len(progress) > 1)
