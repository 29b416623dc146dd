package dataset

import "fmt"

// decathlon are the ten tasks of the Medical Segmentation Decathlon. Addresses
// and MD5 sums are those of MONAI's DecathlonDataset (monai/apps/datasets.py,
// version 1.5); names of labels and channels those of the archives'
// dataset.json, numbers of cases those of the archives. The hippocampus' labels
// have the names of the built-in model.
func decathlon() []Set {
	tasks := []struct {
		n        int
		word     string
		title    string
		modality string
		channels []string
		labels   []string
		cases    int
		about    int64 // MB
		md5      string
	}{
		{
			1, "BrainTumour", "glioma on MR, four sequences", "MR",
			[]string{"FLAIR", "T1w", "T1gd", "T2w"},
			[]string{"edema", "non-enhancing tumor", "enhancing tumour"},
			484, 7100, "240a19d752f0d9e9101544901065d872",
		},
		{2, "Heart", "left atrium on MR", "MR", nil, []string{"left atrium"}, 20, 435, "06ee59366e1e5124267b774dbd654057"},
		{3, "Liver", "liver and its tumours on CT", "CT", nil, []string{"liver", "cancer"}, 131, 27000, "a90ec6c4aa7f6a3d087205e23d4e6397"},
		{
			4, "Hippocampus", "anterior and posterior hippocampus on MR", "MR", nil,
			[]string{"anterior", "posterior"},
			260, 28, "9d24dba78a72977dbd1d2e110310f31b",
		},
		{
			5, "Prostate", "zones of the prostate on MR, two sequences", "MR",
			[]string{"T2", "ADC"},
			[]string{"PZ", "TZ"},
			32, 229, "35138f08b1efaef89d7424d2bcc928db",
		},
		{6, "Lung", "lung tumours on CT", "CT", nil, []string{"cancer"}, 63, 8500, "8afd997733c7fc0432f71255ba4e52dc"},
		{7, "Pancreas", "pancreas and its tumours on CT", "CT", nil, []string{"pancreas", "cancer"}, 281, 11500, "4f7080cfca169fa8066d17ce6eb061e4"},
		{8, "HepaticVessel", "vessels and tumours of the liver on CT", "CT", nil, []string{"vessel", "tumour"}, 303, 8700, "641d79e80ec66453921d997fbf12a29c"},
		{9, "Spleen", "spleen on CT", "CT", nil, []string{"spleen"}, 41, 1600, "410d4a301da4e5b2f6f86ec3ddba524e"},
		{10, "Colon", "primary colon cancer on CT", "CT", nil, []string{"colon cancer primaries"}, 126, 5800, "bad7a188931dc2f6acf72b08eb6202d0"},
	}
	sets := make([]Set, 0, len(tasks))
	for _, t := range tasks {
		s := Set{
			Name: fmt.Sprintf("Task%02d_%s", t.n, t.word), Title: t.title, Modality: t.modality, Channels: t.channels, Cases: t.cases,
			About: t.about * 1e6, MD5: t.md5, Home: "http://medicaldecathlon.com", Layout: decathlonLayout,
			Licence: "CC BY-SA 4.0",
			Cite:    "Antonelli et al., The Medical Segmentation Decathlon, Nature Communications 13, 4128 (2022), doi:10.1038/s41467-022-30695-9",
		}
		s.Archive = s.Name + ".tar"
		s.URL = "https://msd-for-monai.s3-us-west-2.amazonaws.com/" + s.Archive
		for i, name := range t.labels {
			s.Labels = append(s.Labels, Label{name, i + 1})
		}
		sets = append(sets, s)
	}
	return sets
}

// decathlonLayout is that of the Decathlon's archives.
var decathlonLayout = Layout{
	Images:     `imagesTr/(?P<id>[^/]+)` + imageExt,
	Labels:     `labelsTr/(?P<id>[^/]+)` + imageExt,
	Unlabelled: `imagesTs/(?P<id>[^/]+)` + imageExt,
	Described:  true,
}

// layouts are sets of one's own in a form that is in wide use.
func layouts() []Set {
	return []Set{
		{
			Name: "decathlon-layout", Title: "own data in the Decathlon's form: imagesTr, labelsTr, dataset.json",
			Access: "give --from FILE or DIR, or --url", Layout: decathlonLayout,
		},
		{
			Name: "nnunet-layout", Title: "own data in nnU-Net's raw form: imagesTr/ID_0000.nii.gz, labelsTr, dataset.json",
			Access: "give --from FILE or DIR, or --url", Layout: Layout{
				Images:     `imagesTr/(?P<id>[^/]+)_(?P<channel>\d{4})` + imageExt,
				Labels:     `labelsTr/(?P<id>[^/]+)` + imageExt,
				Unlabelled: `imagesTs/(?P<id>[^/]+)_(?P<channel>\d{4})` + imageExt,
				Described:  true,
			},
		},
	}
}
