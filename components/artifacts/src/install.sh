#!/bin/sh
# Installs accredit, the command of an Accredit server, for the user who runs it:
#
#   curl -fsSL <server>/cli/install.sh | sh
#   curl -fsSL <server>/cli/install.sh | sh -s -- --dry-run
#
# All code is in functions. The last line calls them from within braces: a shell runs nothing of a group that is not closed,
# so a script that was cut off during the download, wherever that was, does nothing.

# The server fills in these values.
release() {
  server=@SERVER@
  version=@VERSION@
}

# Sets path, size and sha256 of the program for the platform $1.
choose() {
  case "$1" in
    # @CHOICES@
    *) return 1 ;;
  esac
}

usage() {
  cat <<'END'
Installs accredit to ~/.local/bin, or to the directory in ACCREDIT_INSTALL_DIR, and writes the server's address to
~/.config/accredit/config.toml (or below XDG_CONFIG_HOME or ACCREDIT_CONFIG_DIR, where accredit looks for it).

  --dry-run   show what would be done, and change nothing
  --help      show this text
END
}

say() {
  printf '%s\n' "$*"
}

fail() {
  printf 'install.sh: %s\n' "$*" >&2
  exit 1
}

# Prints $1 as one word of a shell, to be pasted: as it is where that is one.
word() {
  case "$1" in
    *[!A-Za-z0-9_./:%+,=-]*) printf "'%s'\n" "$(printf '%s\n' "$1" | sed "s/'/'\\\\''/g")" ;;
    *) printf '%s\n' "$1" ;;
  esac
}

have() {
  command -v "$1" >/dev/null 2>&1
}

# Sets os and arch to the names that the server uses.
tell_platform() {
  os=$(uname -s)
  arch=$(uname -m)
  case "$os" in
    Linux) os=linux ;;
    Darwin) os=macos ;;
  esac
  case "$arch" in
    x86_64 | amd64) arch=x86_64 ;;
    aarch64 | arm64) arch=aarch64 ;;
  esac
}

# Downloads the URL $1 into the file $2, of at most $size bytes. No configuration of the user counts: it could choose other
# files, send credentials, or print headers among the bytes.
fetch() (
  # Seconds that the server may send nothing, and for the whole download.
  silence=30
  longest=3600
  # In blocks of 512 or, in some shells, 1024 bytes: a server that sends without end does not fill the disk.
  ulimit -f $((size / 512 + 1)) 2>/dev/null || :
  if have curl; then
    # -q has to be the first option.
    curl -q --globoff --fail --silent --show-error --location --connect-timeout "$silence" --speed-limit 1 \
      --speed-time "$silence" --max-time "$longest" --output "$2" "$1"
    return
  fi
  # There are several programs of this name. One that does not know an option does not read the files either, or has no time-out. Its
  # help has blanks behind an option that it knows; and it is asked for without the files, which could be what is wrong.
  set -- -q -O "$2" "$1"
  case "$(wget --no-config --help 2>&1)" in
    *"--no-config "*) set -- --no-config --no-netrc -t 1 -T "$silence" "$@" ;;
    *-T*) set -- -T "$silence" "$@" ;;
  esac
  # wget has no limit for the whole download.
  if have timeout; then
    set -- timeout "$longest" wget "$@"
  else
    set -- wget "$@"
  fi
  "$@"
)

# Prints the number of bytes in the file $1.
length() {
  # Some systems put blanks before the number.
  printf '%s\n' "$(($(wc -c <"$1")))"
}

# Prints the SHA-256 of the file $1.
digest() {
  if have sha256sum; then
    sum=$(sha256sum <"$1")
  else
    sum=$(shasum -a 256 <"$1")
  fi
  printf '%s\n' "${sum%% *}"
}

# Removes temporary files, however the script ends.
clean() {
  [ -z "$work" ] || rm -rf -- "$work"
  [ -z "$part" ] || rm -f -- "$part"
}

# Installs the downloaded file, completely or not at all.
place() {
  mkdir -p -- "$bin"
  part=$bin/.accredit.$$
  cp -- "$work/accredit" "$part"
  chmod 755 "$part"
  # One for another C library, or in a place where nothing may be run, replaces none that works.
  "$part" --version >/dev/null 2>&1 ||
    fail "the program does not run on this machine from $bin; nothing was changed. It may be for another C library, or $bin mounted noexec"
  mv -f -- "$part" "$bin/accredit"
  part=
}

# Writes the server's address to the configuration. The rest of the file stays as it is.
configure() {
  (umask 077 && mkdir -p -- "$folder")
  chmod 700 "$folder"
  new=$work/config.toml
  if [ -f "$config" ]; then
    cp -- "$config" "$work/config.old"
  else
    : >"$work/config.old"
  fi
  # The key belongs before the first table. A line that begins with a bracket inside a list or a string is not a table.
  ACCREDIT_SERVER=$server LC_ALL=C awk '
    NR == 1 { sub(/^\357\273\277/, "") } # what some editors write before a text
    BEGIN { line = "url = \"" ENVIRON["ACCREDIT_SERVER"] "\""; depth = 0; text = 0 }
    !done && !depth && !text && /^[ \t]*\[/ { print line; print ""; done = 1 }
    !done && !depth && !text && /^[ \t]*(url|"url"|\047url\047)[ \t]*=/ { print line; done = 1; next }
    {
      print
      bare = $0
      quotes = gsub(/"""|\047\047\047/, "", bare)
      if (quotes % 2) text = !text
      if (quotes || text) next
      gsub(/"([^"\\]|\\.)*"|\047[^\047]*\047/, "", bare)
      sub(/#.*/, "", bare)
      depth += gsub(/\[/, "", bare) - gsub(/\]/, "", bare)
    }
    END {
      if (!done && (depth || text)) exit 3 # the file cannot be parsed
      if (!done) print line
    }
  ' "$work/config.old" >"$new" || {
    say "Not configured: add url = \"$server\" to $config yourself, before its first table."
    return
  }
  if [ -f "$config" ] && [ "$(cat "$config")" = "$(cat "$new")" ]; then
    say "Already configured: $config"
    return
  fi
  if [ -h "$config" ]; then
    # The file is a link: keep the link.
    cat "$new" >"$config"
  else
    part=$folder/.config.toml.$$
    (umask 077 && cp -- "$new" "$part")
    mv -f -- "$part" "$config"
    part=
  fi
  say "Configured: $config"
}

main() {
  set -eu
  work=
  part=
  dry=
  path=
  size=
  sha256=
  release
  for option in "$@"; do
    case "$option" in
      --dry-run) dry=yes ;;
      --help | -h)
        usage
        exit 0
        ;;
      *)
        usage >&2
        exit 64
        ;;
    esac
  done

  case "${HOME:-}" in
    /*) ;;
    *) fail "HOME is not set to an absolute path" ;;
  esac
  bin=$HOME/.local/bin
  case "${ACCREDIT_INSTALL_DIR:-}" in
    '') ;;
    /*) bin=${ACCREDIT_INSTALL_DIR%/} ;;
    *) fail "ACCREDIT_INSTALL_DIR is not set to an absolute path" ;;
  esac
  # Where the program looks for it, which takes no other one either.
  folder=$HOME/.config/accredit
  case "${XDG_CONFIG_HOME:-}" in
    /*) folder=$XDG_CONFIG_HOME/accredit ;;
  esac
  case "${ACCREDIT_CONFIG_DIR:-}" in
    '') ;;
    /*) folder=$ACCREDIT_CONFIG_DIR ;;
    *) fail "ACCREDIT_CONFIG_DIR is not set to an absolute path" ;;
  esac
  config=$folder/config.toml

  tell_platform
  choose "$os-$arch" || fail "$server has no accredit for $os-$arch. For the available platforms, see $server/cli/manifest.json"
  have curl || have wget || fail "curl or wget is required for the download"
  have sha256sum || have shasum || fail "sha256sum or shasum is required to verify the download"
  for file in "$bin/accredit" "$config"; do
    [ ! -d "$file" ] || fail "$file is a directory"
  done

  say "accredit $version for $os-$arch ($size bytes) from $server"
  if [ -n "$dry" ]; then
    say "Would download $server$path"
    say "Would verify its SHA-256: $sha256"
    say "Would install it as $bin/accredit"
    say "Would write the server's address to $config"
    say "Nothing was changed."
    exit 0
  fi

  trap clean EXIT
  trap 'exit 129' HUP
  trap 'exit 130' INT
  trap 'exit 143' TERM
  work=$(mktemp -d "${TMPDIR:-/tmp}/accredit.XXXXXX")
  fetch "$server$path" "$work/accredit" || fail "the download from $server failed; nothing was changed"
  found=$(length "$work/accredit")
  [ "$found" -eq "$size" ] || fail "the downloaded file does not match ($found bytes, expected $size); nothing was changed"
  found=$(digest "$work/accredit")
  [ "$found" = "$sha256" ] || fail "the downloaded file does not match (SHA-256 $found, expected $sha256); nothing was changed"

  place
  say "Installed: $bin/accredit"
  configure

  first=$(command -v accredit || true)
  case ":${PATH:-}:" in
    *":$bin:"* | *":$bin/:"*)
      case "$first" in
        "" | "$bin/accredit" | "$bin//accredit") start=accredit ;;
        *)
          start=$(word "$bin/accredit")
          say ""
          say "Another accredit comes first in your PATH: $first"
          ;;
      esac
      ;;
    *)
      start=$(word "$bin/accredit")
      say ""
      say "$bin is not in your PATH. To add it, append this line to your shell's profile:"
      # shellcheck disable=SC2016
      case "$bin" in
        "$HOME/.local/bin") say '  export PATH="$HOME/.local/bin:$PATH"' ;;
        *) say "  export PATH=$(word "$bin"):\"\$PATH\"" ;;
      esac
      ;;
  esac
  say ""
  say "Next steps:"
  say "  $start auth login    sign in"
  say "  $start whoami        show your identity and permissions"
  say "  $server/docs/agents/    the manual"
}

{ main "$@"; }
