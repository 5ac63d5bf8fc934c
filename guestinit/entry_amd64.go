package main

// entry is in entry_amd64.s. Only the linker's -E flag refers to it.
//
//lint:ignore U1000 see above
func entry()
