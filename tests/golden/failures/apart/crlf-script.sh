# label: line-endings|command-missing|file-missing
printf '#!/bin/bash\r\necho hi\r\n' > run.sh; chmod +x run.sh
#---
./run.sh
