//! The rules for a new password (NIST SP 800-63B, section 3.1.1.2): long enough, and not one that is guessed first. No class of characters is
//! demanded: people answer that with `Summer2026!`, which is guessed first.

use std::collections::BTreeSet;

use common::error::{ApiError, Code};

/// The fewest characters of a password.
const LEAST: usize = 8;
/// The most bytes of a password.
const MOST: usize = 256;
/// The fewest characters of a person's or tenant's own word that is looked for.
const LEAST_OF_WORD: usize = 3;

/// Passwords of signs that no rule below finds.
const ROWS: [&str; 5] = ["12341234", "12344321", "1234567890", "0987654321", "aa123456"];

/// Words that are common in passwords, without accents: those of English, then seasons, months, days and the like of English, German, French
/// and Spanish, then keys that lie beside each other.
const WORDS: &str = "
    accredit access account admin administrator agent andrew angel apple arsenal ashley banana barcelona baseball basketball batman buster business
    change changeme charlie cheese chelsea chocolate company computer cookie corvette danielle daniel default demo diamond dragon example
    facebook family ferrari flower football freedom friend fuckyou garfield george ginger google guest hacker hannah happy harley hello holiday
    hockey hunter iloveyou internet jennifer jessica jordan killer letmein liverpool login london love lovely loveyou lucky madison manager
    master matrix matthew maverick mercedes michael michelle microsoft midnight money monkey mustang nicole ninja office orange pass passw
    password passwort pepper phoenix pokemon porsche princess purple qwerty ranger robert root samantha samsung school secret server shadow
    silver soccer spiderman starwars steelers student sunshine superman support system teacher temp temporary test tester testing thomas tigger
    trustno trustnoone user vacation victoria welcome whatever work yankees
    arschloch bayern berlin blume dortmund engel familie ficken firma frankfurt fussball fußball geheim hallo hamburg hund katze kennwort liebe
    maus muenchen munchen mutti oesterreich osterreich prinzessin schalke schatz scheisse schokolade schule schweiz sonne
    sonnenschein stuttgart urlaub wien willkommen zuerich zurich
    amour azerty bienvenue bonjour chouchou coucou doudou famille france jetaime loulou marseille motdepasse papillon paris princesse
    soleil vacances
    amor amigo bienvenida bienvenido clave contrasena espana estrella familia hola madrid mariposa mexico princesa realmadrid
    secreto teamo tequiero usuario
    spring summer autumn fall winter january february march april may june july august september october november december jan feb mar apr jun
    jul aug sep sept oct nov dec monday tuesday wednesday thursday friday saturday sunday easter christmas birthday
    fruehling fruhling sommer herbst januar jaenner janner februar maerz marz mai juni juli oktober dezember montag dienstag mittwoch donnerstag
    freitag samstag sonnabend sonntag ostern weihnachten geburtstag
    printemps automne ete hiver janvier fevrier mars avril juin juillet aout septembre octobre novembre decembre lundi mardi mercredi jeudi
    vendredi samedi dimanche noel
    primavera verano otono invierno enero febrero marzo abril mayo junio julio agosto septiembre octubre noviembre diciembre lunes martes
    miercoles jueves viernes sabado domingo navidad
    abc abcd abcde abcdef asdf asdfg asdfgh asdfghjkl asdfjkl poiuytrewq qawsed qazwsx qazwsxedc qweasd qweasdzxc qwer qwert qwertyui
    qwertyuiop qwertz qwertzuiop wasd xyz yxcv yxcvbnm zaqwsx zaqxsw zxcv zxcvb zxcvbn zxcvbnm";

/// Refuses what is too short or too long, a row such as `aaaaaaaa` or `abcdefgh`, and one common word or one of `own` with digits and signs
/// around it, in whatever case and with the usual signs in place of letters. `password` is composed; `own` are the address and the name of the
/// person and the names of the tenant. A phrase of several words is none of that.
pub(crate) fn check(password: &str, own: &[&str]) -> Result<(), ApiError> {
    let weak = |why: &str| Err(Code::WeakPassword.detail(why));
    if password.chars().count() < LEAST {
        return weak("This password has fewer than 8 characters.");
    }
    if password.len() > MOST {
        return weak("This password has more than 256 bytes.");
    }
    let lower = password.to_lowercase();
    if is_row(&lower) || ROWS.contains(&lower.as_str()) {
        return weak("This password is a row of the same or of neighbouring characters.");
    }
    let signs: Vec<char> = lower.chars().map(plain).collect();
    // Of digits and signs alone each word of a few letters can be read.
    if !signs.iter().any(|sign| sign.is_alphabetic()) {
        return Ok(());
    }
    if own.iter().any(|text| own_words(text).any(|word| is_made_of(&signs, &word))) {
        return weak(
            "This password is an address or a name that belongs to the account or its tenant, with nothing but digits and signs around it.",
        );
    }
    if WORDS.split_whitespace().any(|word| is_made_of(&signs, &word.chars().collect::<Vec<_>>())) {
        return weak(
            "This password is one common word with nothing but digits and signs around it, which is among the first that are tried.",
        );
    }
    Ok(())
}

/// Whether a text has fewer than four different characters, or is a run of neighbours.
fn is_row(text: &str) -> bool {
    let numbers: Vec<i64> = text.chars().map(|c| i64::from(u32::from(c))).collect();
    let steps: BTreeSet<i64> = numbers.windows(2).filter_map(|pair| Some(pair.last()? - pair.first()?)).collect();
    let different: BTreeSet<i64> = numbers.into_iter().collect();
    different.len() < 4 || matches!((steps.len(), steps.first()), (1, Some(-1 | 1)))
}

/// The words of an address or a name: each by itself, those of each side of an `@` as one, and all as one.
fn own_words(text: &str) -> impl Iterator<Item = Vec<char>> {
    let text = text.to_lowercase();
    let mut words: Vec<String> = text.split(|c: char| !c.is_alphanumeric()).map(str::to_owned).collect();
    words.extend(text.split('@').map(str::to_owned));
    words.push(text);
    let letters = |word: String| word.chars().filter(|c| c.is_alphanumeric()).map(plain).collect::<Vec<char>>();
    words.into_iter().map(letters).filter(|word| word.len() >= LEAST_OF_WORD && word.iter().any(|c| c.is_alphabetic()))
}

/// A letter without its accent.
fn plain(letter: char) -> char {
    match letter {
        'à'..='å' => 'a',
        'è'..='ë' => 'e',
        'ì'..='ï' => 'i',
        'ò'..='ö' => 'o',
        'ù'..='ü' => 'u',
        'ç' => 'c',
        'ñ' => 'n',
        other => other,
    }
}

/// Whether a sign of a password stands for a letter of a word.
fn stands_for(sign: char, letter: char) -> bool {
    sign == letter
        || matches!(
            (sign, letter),
            ('@' | '4', 'a') | ('3', 'e') | ('1' | '!', 'i') | ('1', 'l') | ('0', 'o') | ('$' | '5', 's') | ('7', 't')
        )
}

/// Whether a password is this word, once or several times, with nothing but digits and signs before, behind and between.
fn is_made_of(password: &[char], word: &[char]) -> bool {
    // Whether so many letters of the word can have come by now.
    let mut come = vec![false; word.len() + 1];
    if let Some(none) = come.first_mut() {
        *none = true;
    }
    for &sign in password {
        let may_skip = !sign.is_alphabetic();
        let is_over = come.last() == Some(&true);
        let mut next: Vec<bool> = come.iter().map(|has_come| *has_come && may_skip).collect();
        for (at, &letter) in word.iter().enumerate() {
            let has_come = come.get(at) == Some(&true) || (at == 0 && is_over);
            if has_come
                && stands_for(sign, letter)
                && let Some(one) = next.get_mut(at + 1)
            {
                *one = true;
            }
        }
        come = next;
    }
    come.last() == Some(&true)
}

#[cfg(test)]
mod tests {
    use super::*;

    const OWN: [&str; 4] = ["Ada.Lovelace@example.com", "Ada Lovelace", "acme-labs", "Zürich Wörks"];

    fn why(password: &str) -> Option<String> {
        check(password, &OWN).err().map(|refusal| refusal.sentence().to_owned())
    }

    /// R228: length, rows, and what is the person's own.
    #[test]
    fn weak_passwords_are_refused() {
        for (weak, words) in [
            ("", "fewer than 8"),
            ("short", "fewer than 8"),
            (&*"x".repeat(257), "more than 256"),
            ("        ", "a row"),
            ("aaaaaaaa", "a row"),
            ("abcabcabc", "a row"),
            ("ABCDefgh", "a row"),
            ("98765432", "a row"),
            ("12341234", "a row"),
            ("ada.lovelace@EXAMPLE.com", "an address or a name"),
            ("ada.lovelace", "an address or a name"),
            ("Lovelace1815!", "an address or a name"),
            ("L0ve1ace", "an address or a name"),
            ("Example.com", "an address or a name"),
            ("Example2026", "an address or a name"),
            ("ada lovelace", "an address or a name"),
            ("Acme-Labs-2026", "an address or a name"),
            ("acme2026!", "an address or a name"),
            ("Zurich#2026", "an address or a name"),
            ("w\u{f6}rks1234", "an address or a name"),
        ] {
            let told = why(weak).unwrap_or_else(|| panic!("{weak}"));
            assert!(told.contains(words), "{weak}: {told}");
        }
    }

    /// R335: one common word with digits and signs.
    #[test]
    fn a_common_word_with_digits_and_signs_is_refused() {
        for weak in [
            "password",
            "Password",
            "Password1",
            "Password123456",
            "P@ssw0rd",
            "p455w0rd!",
            "Pa$$word2026",
            "Passwort1",
            "pa55wort!!",
            "Summer2026!",
            "$ummer2026",
            "5ummer26",
            "2026Summer",
            "!!Summer!!",
            "Winter2025",
            "Herbst.2025",
            "W3lc0me!",
            "Welcome1!",
            "Welcome123",
            "Willkommen1",
            "Accredit1",
            "accredit2026",
            "@ccr3d1t",
            "Admin123!",
            "4dm1n1strator",
            "Januar2026",
            "M\u{e4}rz2026!",
            "f\u{e9}vrier2026",
            "\u{e9}t\u{e9}2026!",
            "Ao\u{fb}t2026",
            "oto\u{f1}o2026",
            "Mi\u{e9}rcoles1",
            "Sonntag01",
            "lundi2026",
            "motdepasse1",
            "mot de passe",
            "Contrase\u{f1}a1",
            "tequiero22",
            "Fu\u{df}ball1",
            "letmein1",
            "let me in!",
            "trustno1",
            "1q2w3e4r",
            "1q2w3e4r5t",
            "qwer1234",
            "1qaz2wsx",
            "zaq12wsx",
            "abc12345",
            "abcd1234",
            "asdfasdf",
            "iloveyou",
            "S.u.m.m.e.r.1",
            "lovelove",
            "SummerSummer1",
            "test1234",
            "1234test",
            "Monday#1",
            "Dec-2026!",
        ] {
            let told = why(weak).unwrap_or_else(|| panic!("{weak}"));
            assert!(told.contains("one common word"), "{weak}: {told}");
        }
    }

    /// R335: no class of characters is demanded, and several words are a phrase.
    #[test]
    fn a_phrase_is_allowed_whatever_it_is_made_of() {
        for strong in [
            "correct horse",
            "correct horse battery",
            "summer winter",
            "Summer in Paris",
            "aab baa c",
            "\u{e9}t\u{e9} \u{e0} No\u{eb}l",
            "hello my old friend",
            "password of my dog",
            "zebra-lantern-quiet-orbit",
            "48293732910",
            "2026-11-27 08:15",
            "xkqvbzrw",
            "summertime blues",
            "\u{6c34}\u{706b}\u{98a8}\u{571f}\u{5c71}\u{5ddd}\u{6d77}\u{7a7a}",
            "lovelace of london",
            "k7#Qz!m2pL",
        ] {
            assert_eq!(why(strong), None, "{strong}");
        }
    }

    /// The longest password is checked in a moment, whatever it is made of.
    #[test]
    fn a_long_password_of_signs_is_checked_at_once() {
        assert_eq!(why(&format!("{}x", "1!5$".repeat(63))), None);
    }
}
