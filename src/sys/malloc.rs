//! The C library's allocator.

/// `mallopt(3)`, for a daemon whose tables grow and shrink. To be called before the first thread is started.
///
/// `M_ARENA_MAX` of 1: threads share what there is. Else each that allocates reserves 64 MiB of address space, which
/// `ulimit -v` counts. `M_MXFAST` of 0: what is freed is joined with its neighbours at once. Else a million small
/// pieces wait for that, and are joined in one go, which takes a tenth of a second.
pub fn configure() {
    #[cfg(target_env = "gnu")]
    // SAFETY: no pointers; parameters are set.
    unsafe {
        libc::mallopt(libc::M_ARENA_MAX, 1);
        libc::mallopt(libc::M_MXFAST, 0);
    }
}

/// `malloc_trim(3)`: gives the kernel back what is free.
pub fn trim() {
    #[cfg(target_env = "gnu")]
    // SAFETY: it takes a number, and changes what is free alone.
    unsafe {
        libc::malloc_trim(0);
    }
}
