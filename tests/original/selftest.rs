//! The original in the guest, seen to be alive.

use super::guest::{Ending, Guest, GuestError, host};
use super::original;
use std::fs;
use std::path::Path;
use std::process::Command;

#[test]
#[ignore = "needs the 2004 mail: KMONITOR_MAIL or ../shared/mail"]
fn the_original_signals_a_childs_end() -> Result<(), GuestError> {
    let scratch = host::Scratch::new(&host::cache()?)?;
    let smoke = scratch.path("smoke");
    let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/original/smoke.c");
    let mut compiler = Command::new("gcc");
    compiler.args(["-static", "-O2", "-Wall", "-Wextra", "-Werror", "-o"]);
    host::run(compiler.arg(&smoke).arg(&source), "gcc")?;

    let report = original::load(Guest::new()?, &original::mail()?)?
        .file("/bin/smoke", &smoke)
        .step("node", "stat -c '%F %t:%T %a' /dev/kmonitor")
        .step("smoke", "smoke")
        .step("unload", "rmmod kmonitor && ! test -e /dev/kmonitor")
        .step("load without address", "insmod /guest/module/kmonitor.ko")
        .run()?;

    assert_eq!(report.step("node").text(), "character special file a:dd 600\n");
    assert_eq!(report.step("smoke").text(), "si_pid right si_code -1 si_int 0x40 child's status 7\n");
    assert!(report.step("smoke").succeeded());
    assert!(report.step("unload").succeeded(), "{report:?}");
    assert_eq!(report.step("load without address").ending, Ending::Exit(libc::EINVAL));
    assert!(report.console.contains("load me with sym_group"));
    Ok(())
}

#[test]
#[ignore = "needs the 2004 mail: KMONITOR_MAIL or ../shared/mail"]
fn a_mail_that_is_not_the_one_is_refused() -> Result<(), GuestError> {
    let scratch = host::Scratch::new(&host::cache()?)?;
    let mail = scratch.path("mail");
    let good = fs::read_to_string(original::mail()?)
        .map_err(|error| panic!("the mail is there but not readable: {error}"))?;
    let refused = |text: &str| {
        fs::write(&mail, text).expect("a scratch file can be written");
        original::module(&mail).expect_err("this mail is damaged").to_string()
    };
    for (text, sentence) in [
        ("hello\n".into(), "the mail has 0 patches"),
        (good.replace("tsk->uid", "tsk->gid"), "edit \"real user id\" fits 0 places"),
        (good.replace("+#include <linux/init.h>", "+#include"), "an #include names no file"),
        (good.replace("+#include <linux/init.h>\n", ""), "the patch for drivers/char/kmonitor.c is damaged"),
    ] {
        let error = refused(&text);
        assert!(error.contains(sentence), "{error}");
    }
    Ok(())
}
