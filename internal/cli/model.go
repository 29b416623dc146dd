package cli

import "github.com/spf13/cobra"

// newModel groups the commands about models themselves.
func newModel(s streams) *cobra.Command {
	return group("model", "Make models; look at their versions and choose the one in service",
		append([]*cobra.Command{newModelNew(s), newModelEnsemble(s), newModelCard(s), newModelShadow(s)}, modelVersionCommands(s)...)...)
}
