package dataset

import "slices"

var abdomenOrgans = []string{
	"spleen", "right kidney", "left kidney", "gallbladder", "esophagus", "liver", "stomach", "aorta", "inferior vena cava",
}

// abdomen are sets of abdominal organs.
func abdomen() []Set {
	btcv := numbered(append(slices.Clip(abdomenOrgans),
		"portal vein and splenic vein", "pancreas", "right adrenal gland", "left adrenal gland"))
	amos := numbered(append(slices.Clip(abdomenOrgans),
		"pancreas", "right adrenal gland", "left adrenal gland", "duodenum", "bladder", "prostate or uterus"))
	return []Set{
		{
			Name: "btcv", Title: "13 abdominal organs on CT (MICCAI 2015 challenge Beyond the Cranial Vault)", Modality: "CT",
			Labels: btcv, Cases: 30, Archive: "RawData.zip", Home: "https://www.synapse.org/Synapse:syn3193805",
			Licence: "terms of the challenge on Synapse",
			Cite:    "Landman et al., MICCAI Multi-Atlas Labeling Beyond the Cranial Vault – Workshop and Challenge (2015)",
			Access: "sign up at https://www.synapse.org, join the challenge syn3193805, download Abdomen/RawData.zip, " +
				"then give it with --from (the archive, or the folder that it was unpacked to)",
			Layout: Layout{
				Images: `(?i:training)/img/img(?P<id>\d{4})` + imageExt, Labels: `(?i:training)/label/label(?P<id>\d{4})` + imageExt,
				Unlabelled: `(?i:testing)/img/img(?P<id>\d{4})` + imageExt, Prefix: "btcv_",
			},
		},
		amos22("amos22-ct", "15 abdominal organs on CT", "CT", amos, 300, `amos_0(?:[0-4]\d\d|500)`),
		amos22("amos22-mr", "up to 15 abdominal organs on MR", "MR", amos, 60, `amos_0(?:50[1-9]|5[1-9]\d|600)`),
	}
}

// amos22 is a part of AMOS 2022: CT has the numbers up to 500, MR those above.
func amos22(name, title, modality string, labels []Label, cases int, id string) Set {
	return Set{
		Name: name, Title: title + " (AMOS 2022)", Modality: modality, Labels: labels, Cases: cases,
		URL: "https://zenodo.org/records/7262581/files/amos22.zip", Archive: "amos22.zip", About: 24e9,
		Home: "https://zenodo.org/records/7262581", Licence: "CC BY 4.0",
		Cite: "Ji et al., AMOS: A Large-Scale Abdominal Multi-Organ Benchmark for Versatile Medical Image Segmentation, NeurIPS 2022, arXiv:2206.08023",
		Note: "one archive holds amos22-ct and amos22-mr: keep it with --keep and give it with --from the second time",
		Layout: Layout{
			Images: `images(?:Tr|Va)/(?P<id>` + id + `)` + imageExt, Labels: `labels(?:Tr|Va)/(?P<id>` + id + `)` + imageExt,
			Unlabelled: `imagesTs/(?P<id>` + id + `)` + imageExt,
		},
	}
}

// numbered gives the values 1, 2, … to names.
func numbered(names []string) []Label {
	labels := make([]Label, len(names))
	for i, n := range names {
		labels[i] = Label{n, i + 1}
	}
	return labels
}
