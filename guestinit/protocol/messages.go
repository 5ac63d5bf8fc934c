package protocol

// Methods that the guest answers, and the event that it sends. Each method's
// parameters and result are the types named here; docs/guest-protocol.md has
// their limits and errors.
const (
	MethodConfigure = "configure"  // Configure -> nothing
	MethodMount     = "mount"      // Mount -> nothing
	MethodUnmount   = "unmount"    // Unmount -> nothing
	MethodStart     = "start"      // Start -> Started
	MethodSignal    = "signal"     // Signal -> nothing
	MethodResize    = "resize"     // Resize -> nothing
	MethodWait      = "wait"       // JobRef -> Exited
	MethodPoweroff  = "poweroff"   // Poweroff -> nothing, then the end
	MethodPing      = "ping"       // Ping -> Ping
	MethodReadFile  = "read-file"  // ReadFile -> FileData
	MethodWriteFile = "write-file" // WriteFile -> nothing
	MethodStats     = "stats"      // StatsRequest -> Stats

	EventExited = "exited" // Exited
)

// MaxFile bounds what read-file returns and write-file takes in one call.
const MaxFile = 512 << 10

// Configure gives the guest its identity. Each part is optional, and it may be
// called again: a clone of a saved guest is given a new one.
type Configure struct {
	// TimeUnixNano sets the wall clock, if not 0.
	TimeUnixNano int64 `json:"timeUnixNano,omitempty"`
	// Entropy is mixed into the kernel's pool, before anything else is done,
	// and credited where the kernel allows it. At most 4096 bytes.
	Entropy  []byte `json:"entropy,omitempty"`
	Hostname string `json:"hostname,omitempty"`
	// Sysctls maps a name, with dots or slashes, to its value.
	Sysctls map[string]string `json:"sysctls,omitempty"`
}

// Mount mounts a file system in the guest's own namespace.
type Mount struct {
	Source string `json:"source,omitempty"`
	Target string `json:"target"`
	FSType string `json:"fstype,omitempty"`
	// Flags are mount(8) words: ro, nosuid, nodev, noexec, sync, dirsync,
	// remount, mand, noatime, nodiratime, relatime, strictatime, bind, rbind,
	// move, silent, and shared, slave, private, unbindable with their r forms.
	Flags []string `json:"flags,omitempty"`
	Data  string   `json:"data,omitempty"`
	// Mkdir makes the target, and its parents, if missing.
	Mkdir bool `json:"mkdir,omitempty"`
	// Modules are files in the guest, loaded first, in this order.
	Modules []string `json:"modules,omitempty"`
	// WaitMillis waits that long for a source under /dev to appear.
	WaitMillis int `json:"waitMillis,omitempty"`
}

// Unmount undoes a mount.
type Unmount struct {
	Target string `json:"target"`
	Lazy   bool   `json:"lazy,omitempty"`
}

// Start starts a program as a job.
type Start struct {
	// ID names the job in the calls that follow; the host chooses it. It is
	// free again once its exit was reported and all its output was sent.
	ID   string   `json:"id"`
	Args []string `json:"args"` // Args[0] is looked up in Env's PATH if it has no slash
	Env  []string `json:"env,omitempty"`
	Cwd  string   `json:"cwd,omitempty"`  // "" is /
	Root string   `json:"root,omitempty"` // chroot; Args[0] and Cwd are within
	UID  uint32   `json:"uid,omitempty"`
	GID  uint32   `json:"gid,omitempty"`
	// Groups are the supplementary groups; none when empty.
	Groups []uint32 `json:"groups,omitempty"`
	// TTY gives the job a terminal of its own, in a new session. Its output
	// is the Stdout stream; a Stderr stream is then an error.
	TTY *Size `json:"tty,omitempty"`
	// Streams that the host opened; 0 is /dev/null.
	Stdin  uint32 `json:"stdin,omitempty"`
	Stdout uint32 `json:"stdout,omitempty"`
	Stderr uint32 `json:"stderr,omitempty"`
}

// Size is that of a terminal.
type Size struct {
	Rows uint16 `json:"rows"`
	Cols uint16 `json:"cols"`
}

// Started is the answer to Start.
type Started struct {
	PID int `json:"pid"`
}

// JobRef names a job.
type JobRef struct {
	ID string `json:"id"`
}

// Signal sends a signal to a job, or to its process group.
type Signal struct {
	ID     string `json:"id"`
	Signal int    `json:"signal"`
	Group  bool   `json:"group,omitempty"`
}

// Resize changes the size of a job's terminal.
type Resize struct {
	ID string `json:"id"`
	Size
}

// Exited says how a job ended. It is sent once its process is gone; output
// that was still under way ends with its stream's end of file.
type Exited struct {
	ID     string `json:"id"`
	Code   int    `json:"code"`             // exit status; 128+Signal when killed
	Signal int    `json:"signal,omitempty"` // what killed it
	Core   bool   `json:"core,omitempty"`
	// OOM says that the kernel's OOM killer was at work in the guest while
	// the job ran, and the job died of SIGKILL that the host did not send.
	OOM bool `json:"oom,omitempty"`
}

// Poweroff ends the guest: jobs are killed, file systems written and
// unmounted. The answer comes before; then the channel ends.
type Poweroff struct {
	// GraceMillis is how long jobs have between SIGTERM and SIGKILL.
	GraceMillis int `json:"graceMillis,omitempty"`
	// Restart resets the machine instead.
	Restart bool `json:"restart,omitempty"`
}

// Ping is answered with itself. Data is at most 4096 bytes.
type Ping struct {
	Data string `json:"data,omitempty"`
}

// ReadFile reads a file of the guest.
type ReadFile struct {
	Path   string `json:"path"`
	Offset int64  `json:"offset,omitempty"`
	Limit  int    `json:"limit,omitempty"` // 0 is MaxFile
}

// FileData is the answer to ReadFile. More says that the file goes on.
type FileData struct {
	Data []byte `json:"data"`
	More bool   `json:"more,omitempty"`
}

// WriteFile writes a file of the guest, whole or at its end.
type WriteFile struct {
	Path   string `json:"path"`
	Data   []byte `json:"data"`
	Mode   uint32 `json:"mode,omitempty"` // permission bits of a new file; 0 is 0644
	Append bool   `json:"append,omitempty"`
	Mkdir  bool   `json:"mkdir,omitempty"` // make missing parents
}

// StatsRequest asks for Stats.
type StatsRequest struct {
	Processes bool `json:"processes,omitempty"`
}

// Stats is the state of the guest.
type Stats struct {
	MemoryKiB    map[string]uint64 `json:"memoryKiB"` // /proc/meminfo
	Load         [3]float64        `json:"load"`
	UptimeMillis int64             `json:"uptimeMillis"`
	// InitRSSKiB is the memory of process 1.
	InitRSSKiB uint64    `json:"initRSSKiB"`
	Processes  []Process `json:"processes,omitempty"`
}

// Process is one process of the guest, from /proc/PID/stat.
type Process struct {
	PID     int      `json:"pid"`
	PPID    int      `json:"ppid"`
	PGID    int      `json:"pgid"`
	UID     uint32   `json:"uid"`
	State   string   `json:"state"`
	Name    string   `json:"name"`
	Args    []string `json:"args,omitempty"`
	Threads int      `json:"threads"`
	RSSKiB  uint64   `json:"rssKiB"`
	CPUMS   int64    `json:"cpuMillis"` // user and system
	StartMS int64    `json:"startMillis"`
	Job     string   `json:"job,omitempty"`
}
