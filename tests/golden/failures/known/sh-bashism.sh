# label: syntax-error|usage
printf '#!/bin/sh\nfiles=(a b)\necho ${files[0]}\n' > s.sh
#---
sh s.sh
