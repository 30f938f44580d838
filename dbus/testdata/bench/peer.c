/*
 * The yardstick of the benchmarks: a service that does the same with sd-bus in C, and
 * the caller that measures both.
 *
 *   peer serve NAME ROOTS                   objects like ours, until it is killed
 *   peer call  NAME COUNT PATH IFACE METHOD [get|list|snapper]
 *                                           COUNT calls in a row; prints nanoseconds for each
 */
#define _GNU_SOURCE
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <systemd/sd-bus.h>
#include <systemd/sd-daemon.h>

#define PATH "/org/impermanence1"

static int roots;

static void check(int r, const char *what) {
	if (r < 0) {
		fprintf(stderr, "%s: %s\n", what, strerror(-r));
		exit(1);
	}
}

static int get_string(sd_bus *bus, const char *path, const char *iface, const char *property,
                      sd_bus_message *reply, void *data, sd_bus_error *error) {
	return sd_bus_message_append(reply, "s", "20261123T075400Z-257");
}

static int get_number(sd_bus *bus, const char *path, const char *iface, const char *property,
                      sd_bus_message *reply, void *data, sd_bus_error *error) {
	return sd_bus_message_append(reply, "t", (uint64_t) 1795420440000000);
}

static int get_bool(sd_bus *bus, const char *path, const char *iface, const char *property,
                    sd_bus_message *reply, void *data, sd_bus_error *error) {
	return sd_bus_message_append(reply, "b", 1);
}

static int get_bytes(sd_bus *bus, const char *path, const char *iface, const char *property,
                     sd_bus_message *reply, void *data, sd_bus_error *error) {
	return sd_bus_message_append_array(reply, 'y', "old_roots/20261123T075400Z-257", 31);
}

static int get_reasons(sd_bus *bus, const char *path, const char *iface, const char *property,
                       sd_bus_message *reply, void *data, sd_bus_error *error) {
	return sd_bus_message_append(reply, "as", 1, "pinned");
}

static const sd_bus_vtable root_vtable[] = {
	SD_BUS_VTABLE_START(0),
	SD_BUS_PROPERTY("Name", "s", get_string, 0, SD_BUS_VTABLE_PROPERTY_EMITS_CHANGE),
	SD_BUS_PROPERTY("Kind", "s", get_string, 0, SD_BUS_VTABLE_PROPERTY_EMITS_CHANGE),
	SD_BUS_PROPERTY("Label", "s", get_string, 0, SD_BUS_VTABLE_PROPERTY_EMITS_CHANGE),
	SD_BUS_PROPERTY("UUID", "s", get_string, 0, SD_BUS_VTABLE_PROPERTY_EMITS_CHANGE),
	SD_BUS_PROPERTY("SubvolumeId", "t", get_number, 0, SD_BUS_VTABLE_PROPERTY_CONST),
	SD_BUS_PROPERTY("Path", "ay", get_bytes, 0, SD_BUS_VTABLE_PROPERTY_EMITS_CHANGE),
	SD_BUS_PROPERTY("CreatedUSec", "t", get_number, 0, SD_BUS_VTABLE_PROPERTY_EMITS_CHANGE),
	SD_BUS_PROPERTY("RolledOverUSec", "t", get_number, 0, SD_BUS_VTABLE_PROPERTY_EMITS_CHANGE),
	SD_BUS_PROPERTY("BootId", "s", get_string, 0, SD_BUS_VTABLE_PROPERTY_EMITS_CHANGE),
	SD_BUS_PROPERTY("ReadOnly", "b", get_bool, 0, SD_BUS_VTABLE_PROPERTY_EMITS_CHANGE),
	SD_BUS_PROPERTY("Pinned", "b", get_bool, 0, SD_BUS_VTABLE_PROPERTY_EMITS_CHANGE),
	SD_BUS_PROPERTY("Deleting", "b", get_bool, 0, SD_BUS_VTABLE_PROPERTY_EMITS_CHANGE),
	SD_BUS_PROPERTY("ProtectReasons", "as", get_reasons, 0, SD_BUS_VTABLE_PROPERTY_EMITS_CHANGE),
	SD_BUS_PROPERTY("ExclusiveBytes", "t", get_number, 0, SD_BUS_VTABLE_PROPERTY_EMITS_INVALIDATION),
	SD_BUS_VTABLE_END
};

static int list_roots(sd_bus_message *call, void *data, sd_bus_error *error) {
	sd_bus_message *reply;
	check(sd_bus_message_new_method_return(call, &reply), "reply");
	check(sd_bus_message_open_container(reply, 'a', "(ostt)"), "array");
	for (int i = 0; i < roots; i++) {
		char path[64];
		snprintf(path, sizeof path, PATH "/root/%d", i + 257);
		check(sd_bus_message_append(reply, "(ostt)", path, "20261123T075400Z-257",
		                            (uint64_t) 1795420440000000, (uint64_t) 4), "row");
	}
	check(sd_bus_message_close_container(reply), "array");
	int r = sd_bus_send(NULL, reply, NULL);
	sd_bus_message_unref(reply);
	return r;
}

static const sd_bus_vtable manager_vtable[] = {
	SD_BUS_VTABLE_START(0),
	SD_BUS_METHOD("ListRoots", "a{sv}t", "a(ostt)", list_roots, SD_BUS_VTABLE_UNPRIVILEGED),
	SD_BUS_PROPERTY("NextBoot", "s", get_string, 0, SD_BUS_VTABLE_PROPERTY_EMITS_CHANGE),
	SD_BUS_VTABLE_END
};

static int find(sd_bus *bus, const char *path, const char *iface, void *data, void **found, sd_bus_error *error) {
	*found = NULL;
	return strncmp(path, PATH "/root/", strlen(PATH "/root/")) == 0;
}

static int enumerate(sd_bus *bus, const char *prefix, void *data, char ***nodes, sd_bus_error *error) {
	*nodes = calloc(roots + 1, sizeof **nodes);
	for (int i = 0; i < roots; i++)
		check(asprintf(&(*nodes)[i], PATH "/root/%d", i + 257), "path");
	return 1;
}

static void serve(sd_bus *bus, const char *name) {
	check(sd_bus_add_object_manager(bus, NULL, PATH), "object manager");
	check(sd_bus_add_object_vtable(bus, NULL, PATH, "org.impermanence1.Manager", manager_vtable, NULL), "manager");
	check(sd_bus_add_fallback_vtable(bus, NULL, PATH "/root", "org.impermanence1.Root", root_vtable, find, NULL), "roots");
	check(sd_bus_add_node_enumerator(bus, NULL, PATH "/root", enumerate, NULL), "enumerator");
	check(sd_bus_request_name(bus, name, 0), "name");
	puts("ready");
	fflush(stdout);
	sd_notify(0, "READY=1");
	for (;;) {
		int r = sd_bus_process(bus, NULL);
		check(r, "process");
		if (r == 0)
			check(sd_bus_wait(bus, UINT64_MAX), "wait");
	}
}

static double now(void) {
	struct timespec t;
	clock_gettime(CLOCK_MONOTONIC, &t);
	return t.tv_sec * 1e9 + t.tv_nsec;
}

static void call(sd_bus *bus, char **args, int count, const char *form) {
	double began = 0;
	for (int i = -count / 10 - 1; i < count; i++) {	/* a tenth to warm up */
		sd_bus_message *request, *reply;
		if (i == 0)
			began = now();
		check(sd_bus_message_new_method_call(bus, &request, args[0], args[2], args[3], args[4]), "call");
		if (strcmp(form, "get") == 0)
			check(sd_bus_message_append(request, "ss", "org.impermanence1.Manager", "NextBoot"), "arguments");
		if (strcmp(form, "list") == 0)
			check(sd_bus_message_append(request, "a{sv}t", 0, (uint64_t) 0), "arguments");
		if (strcmp(form, "snapper") == 0)
			check(sd_bus_message_append(request, "s", "bench"), "arguments");
		check(sd_bus_call(bus, request, 0, NULL, &reply), "call");
		sd_bus_message_unref(request);
		sd_bus_message_unref(reply);
	}
	printf("%.0f\n", (now() - began) / count);
}

int main(int argc, char **argv) {
	sd_bus *bus;
	check(sd_bus_open_system(&bus), "bus");
	if (argc == 4 && strcmp(argv[1], "serve") == 0) {
		roots = atoi(argv[3]);
		serve(bus, argv[2]);
	}
	if (argc < 7)
		return 2;
	call(bus, argv + 2, atoi(argv[3]), argc > 7 ? argv[7] : "");
	return 0;
}
