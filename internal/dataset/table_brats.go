package dataset

// brats are the glioma sets of the Brain Tumor Segmentation challenges, which
// ask for signing up. Task01_BrainTumour is an earlier one that does not.
func brats() []Set {
	channels := []string{"FLAIR", "T1", "T1 with contrast", "T2"}
	const licence = "terms of the challenge on Synapse"
	return []Set{
		{
			Name: "brats2021", Title: "glioma on MR, four sequences (BraTS 2021)", Modality: "MR", Channels: channels, Cases: 1251,
			Labels:  []Label{{"necrotic tumor core", 1}, {"edema", 2}, {"enhancing tumor", 4}},
			Archive: "BraTS2021_Training_Data.tar", Home: "https://www.synapse.org/Synapse:syn27046444", Licence: licence,
			Cite: "Baid et al., The RSNA-ASNR-MICCAI BraTS 2021 Benchmark, arXiv:2107.02314",
			Access: "sign up at https://www.synapse.org, join the challenge syn27046444, download the training data, " +
				"then give the archive, or the folder that it was unpacked to, with --from",
			Layout: Layout{
				Images: `(?P<id>BraTS2021_\d{5})_(?P<channel>flair|t1|t1ce|t2)` + imageExt, Labels: `(?P<id>BraTS2021_\d{5})_seg` + imageExt,
				Suffixes: []string{"flair", "t1", "t1ce", "t2"},
			},
		},
		{
			Name: "brats2023-gli", Title: "glioma on MR, four sequences (BraTS 2023)", Modality: "MR", Channels: channels, Cases: 1251,
			Labels:  []Label{{"necrotic tumor core", 1}, {"edema", 2}, {"enhancing tumor", 3}},
			Archive: "ASNR-MICCAI-BraTS2023-GLI-Challenge-TrainingData.zip", Home: "https://www.synapse.org/Synapse:syn51156910", Licence: licence,
			Cite: "Baid et al., The RSNA-ASNR-MICCAI BraTS 2021 Benchmark, arXiv:2107.02314",
			Access: "sign up at https://www.synapse.org, join the challenge syn51156910, download the glioma training data, " +
				"then give the archive, or the folder that it was unpacked to, with --from",
			Layout: Layout{
				Images: `(?P<id>BraTS-GLI-\d{5}-\d{3})-(?P<channel>t2f|t1n|t1c|t2w)` + imageExt, Labels: `(?P<id>BraTS-GLI-\d{5}-\d{3})-seg` + imageExt,
				Suffixes: []string{"t2f", "t1n", "t1c", "t2w"},
			},
		},
	}
}
