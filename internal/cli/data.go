package cli

import "github.com/spf13/cobra"

// newData groups the commands about public data sets.
func newData(s streams) *cobra.Command {
	return group("data", "Bring public sets of labelled images into a studies folder", newDataList(s), newDataFetch(s), newDataVerify(s))
}
