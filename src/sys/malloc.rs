//! The C library's allocator.

/// `mallopt(M_ARENA_MAX, 1)`: threads share what there is. Else each that allocates reserves 64 MiB of
/// address space, which `ulimit -v` counts. To be called before the first thread is started.
pub fn share_arena() {
    #[cfg(target_env = "gnu")]
    // SAFETY: no pointers; a parameter is set.
    unsafe {
        libc::mallopt(libc::M_ARENA_MAX, 1);
    }
}
