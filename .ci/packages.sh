# Debian packages for the gate; sourced by the scripts beside it. Needs root.

# The engine and its tools are in sbin, which is not in everybody's PATH.
export PATH=$PATH:/usr/local/sbin:/usr/sbin:/sbin

# install_packages NAME...: install what is missing, without starting any service that a package brings along.
install_packages() {
    local policy=/usr/sbin/policy-rc.d refuse_starts= status=0
    export DEBIAN_FRONTEND=noninteractive
    apt-get update -qq
    if [ ! -e "$policy" ]; then
        refuse_starts=yes
        printf '#!/bin/sh\nexit 101\n' >"$policy"
        chmod 755 "$policy"
    fi
    apt-get install -y -qq --no-install-recommends "$@" >/dev/null || status=$?
    [ -z "$refuse_starts" ] || rm -f "$policy"
    return "$status"
}

# debian_mirror: the address from which this machine gets Debian itself.
debian_mirror() {
    local lists
    lists=$(apt-get indextargets --format '$(ORIGIN) $(REPO_URI)' 'Created-By: Packages')
    [ -n "$lists" ] || { apt-get update -qq; lists=$(apt-get indextargets --format '$(ORIGIN) $(REPO_URI)' 'Created-By: Packages'); }
    awk '$1 == "Debian" { print $2; exit }' <<<"$lists"
}
