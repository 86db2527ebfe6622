//! Command lines as a shell takes them.

/// The arguments, quoted so that bash, zsh and ksh read the same again, and so that a terminal shows all and obeys
/// nothing.
pub fn command_line(args: &[Vec<u8>]) -> String {
    args.iter().map(|argument| quoted(argument)).collect::<Vec<_>>().join(" ")
}

fn quoted(argument: &[u8]) -> String {
    match str::from_utf8(argument) {
        Ok(text) if !text.is_empty() && text.chars().all(is_plain) => text.to_owned(),
        Ok(text) if text.chars().all(is_shown) => format!("'{}'", text.replace('\'', r"'\''")),
        _ => escaped(argument),
    }
}

/// It needs no quotes.
fn is_plain(letter: char) -> bool {
    letter.is_ascii_alphanumeric() || "_-./,:=+@%^".contains(letter) || !letter.is_ascii() && is_shown(letter)
}

/// A terminal shows it: no control character, none that has no width or changes the direction of others, and no blank
/// that looks like another.
fn is_shown(letter: char) -> bool {
    let is_hidden = matches!(letter, '\u{ad}' | '\u{61c}' | '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}'
        | '\u{2060}'..='\u{206f}' | '\u{feff}');
    letter == ' ' || !letter.is_control() && !is_hidden && !letter.is_whitespace()
}

/// As $'...'.
fn escaped(argument: &[u8]) -> String {
    let mut text = "$'".to_owned();
    for chunk in argument.utf8_chunks() {
        for letter in chunk.valid().chars() {
            match letter {
                '\n' => text += r"\n",
                '\t' => text += r"\t",
                '\r' => text += r"\r",
                '\'' => text += r"\'",
                '\\' => text += r"\\",
                letter if is_shown(letter) => text.push(letter),
                letter => letter.encode_utf8(&mut [0; 4]).bytes().for_each(|byte| octal(&mut text, byte)),
            }
        }
        chunk.invalid().iter().for_each(|byte| octal(&mut text, *byte));
    }
    text + "'"
}

/// Three digits, which no digit behind them can make longer.
fn octal(text: &mut String, byte: u8) {
    *text += &format!("\\{byte:03o}");
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::process::Command;

    #[test]
    fn quotes_are_used_where_they_are_needed() {
        let line =
            |args: &[&str]| command_line(&Vec::from_iter(args.iter().map(|arg| arg.as_bytes().to_vec())));
        assert_eq!(line(&["date", "+%s", "/a/b-c.d", "x=y,z:1@2"]), "date +%s /a/b-c.d x=y,z:1@2");
        assert_eq!(line(&["sh", "-c", "echo 'a' | wc"]), r"sh -c 'echo '\''a'\'' | wc'");
        assert_eq!(line(&["", "ä", "a b", "~", "#"]), "'' ä 'a b' '~' '#'");
        assert_eq!(line(&["a\nb\u{1b}[0m", "\u{202e}x"]), r"$'a\nb\033[0m' $'\342\200\256x'");
        assert_eq!(command_line(&[b"\xff1".to_vec()]), r"$'\3771'");
    }

    #[test]
    fn bash_reads_the_same_again() {
        let all: Vec<u8> = (1..=255).collect();
        let mut args: Vec<Vec<u8>> = all.iter().map(|byte| vec![b'a', *byte, b'7']).collect();
        args.extend([
            all,
            Vec::new(),
            "ä'\u{85}\\".as_bytes().to_vec(),
            b"-n".to_vec(),
            b"$(x) `y` !z".to_vec(),
        ]);
        let script = format!("printf '%s\\0' {}", command_line(&args));
        let output = Command::new("bash").args(["-c", &script]).output().expect("bash is there");
        let mut expected = args.join(&0);
        expected.push(0);
        assert!(output.stdout == expected, "{script}");
    }
}
