# label: syntax-error
printf '#!/bin/bash\nif true; then\n  echo a\n' > build.sh
#---
bash build.sh
