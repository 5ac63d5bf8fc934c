# Lists the objects of a kernel, one line a folder: "D folder object...".
# Read by make in the top folder of a configured tree; nothing is run.
#
# Each folder's Makefile is read with the variables of scripts/Makefile.build,
# after those that the folder before it set are gone. A compiler is not asked
# ($(SHELL) is /bin/true): cc-option and its like choose flags, not objects.
SHELL := /bin/true
srctree := .
objtree := .
SRCARCH := x86
hdr-arch := x86
include .config
BITS := $(if $(CONFIG_64BIT),64,32)
KBUILD_BUILTIN := 1

@LISTS@
roots := $(filter %/,$(init-y) $(core-y) $(drivers-y) $(net-y) $(libs-y) $(virt-y))

per-folder := %-y %-m %-n %-objs %- targets always
kbuild-file = $(firstword $(wildcard $(1)/Kbuild $(1)/Makefile))
forget = $(foreach v,$(filter $(per-folder),$(.VARIABLES)),$(eval undefine $(v)))
parts = $($(1:.o=-objs)) $($(1:.o=-y))
expand = $(foreach o,$(1),$(if $(strip $(call parts,$(o))),$(call parts,$(o)),$(o)))

read = $(forget)$(eval obj := $(1))$(eval src := $(1))$(eval -include $(call kbuild-file,$(1)))
listed = $(call expand,$(filter %.o,$(obj-y) $(lib-y))) \
	$(filter %.o,$(extra-y) $(always) $(always-y) $(targets))
below = $(filter %/,$(obj-y)) $(addsuffix /,$(patsubst %/,%,$(subdir-y)))
visit = $(call read,$(1))$(info D $(1) $(listed))$(foreach d,$(below),$(eval next += $(1)/$(d:/=)))
walk = $(eval next :=)$(foreach d,$(1),$(call visit,$(d)))$(if $(next),$(call walk,$(next)))

# From 6.1 on the top Kbuild lists folders. The others are built by rules of their
# own: what boots, and what resumes from sleep or starts another processor.
apart := arch/x86/boot arch/x86/boot/compressed arch/x86/realmode/rm \
	$(if $(CONFIG_ACPI_SLEEP),arch/x86/kernel/acpi/realmode)
$(call walk,$(patsubst ./Kbuild,.,$(wildcard ./Kbuild)) $(patsubst %/,%,$(roots)) $(wildcard $(apart)))

.PHONY: plan
plan: ;
