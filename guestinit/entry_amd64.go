package main

// entry is in entry_amd64.s. Only the linker's -E flag refers to it.
func entry()
