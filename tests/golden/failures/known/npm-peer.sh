# label: version-conflict
printf '{"name":"web","version":"1.0.0"}' > package.json
#---
printf 'npm error code ERESOLVE\nnpm error ERESOLVE unable to resolve dependency tree\nnpm error Found: react@18.2.0\nnpm error Could not resolve dependency:\nnpm error peer react@"^17.0.0" from old-lib@2.0.0\n' >&2; exit 1
