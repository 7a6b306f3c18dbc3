# label: file-missing
#---
set -o pipefail; cat report.xml | wc -l
