/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/*
 * Gives siginfo_t back its tag: glibc once had `struct siginfo`, and sources of
 * that time declare their handlers with it. glibc's own definition stays in
 * charge of layout and accessors; it reads `typedef struct {...} siginfo_t;`,
 * and the two macros make `struct siginfo { struct {...}; };` of it.
 *
 * <signal.h> includes this file by name, so the order of a source's headers
 * does not matter. In C++ the tag is part of mangled names: objects that pass
 * siginfo_t to one another need to agree on using this folder.
 */
#pragma GCC system_header

#ifndef __siginfo_t_defined

/* Whatever that header includes must be read before `typedef` is redefined. */
#include <bits/types.h>
#include <bits/types/__sigval_t.h>
#include <bits/siginfo-arch.h>

#define typedef struct siginfo { __extension__
#define siginfo_t ; }
#include_next <bits/types/siginfo_t.h>
#undef typedef
#undef siginfo_t

typedef struct siginfo siginfo_t;

#endif
